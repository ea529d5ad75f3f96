"""launch/kubernetes: valid, alike where they describe one pod, and in step with the image and the launcher.

Core kinds are checked against Kubernetes's own schemas. Those of Kubeflow and of Prometheus Operator do not
come with a package: of these the pod, most of it, is checked as a Job, the rest by what it must name.
"""

import inspect
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from partialfc.cli.serve import serve
from partialfc.config import parse_config
from partialfc.serving.service.gate import PROBES
from partialfc.serving.service.limits import Limits
from tests.paths import ROOT

FOLDER = ROOT / "launch" / "kubernetes"
BIN = Path(sys.executable).parent
LAUNCHER = (ROOT / "launch" / "torchrun.sh").read_text()
CORE = ("config.yaml", "storage.yaml", "job.yaml", "serve.yaml")

validate = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate is not installed")


def documents(name: str) -> dict[str, Any]:
    """The documents of a manifest by their kind; of several PersistentVolumeClaims the last."""
    return {each["kind"]: each for each in yaml.safe_load_all((FOLDER / name).read_text())}


def runtime_job() -> dict[str, Any]:
    [job] = documents("trainjob.yaml")["TrainingRuntime"]["spec"]["template"]["spec"]["replicatedJobs"]
    return job


def pod(name: str) -> dict[str, Any]:
    """The pod of a manifest, without what makes it that manifest's."""
    job = documents(name)["Job"] if name == "job.yaml" else runtime_job()["template"]
    return job["spec"]["template"]["spec"]


@pytest.fixture
def config() -> Any:
    """The run's config in the ConfigMap, which the strict parser of configs takes."""
    text = documents("config.yaml")["ConfigMap"]["data"]["train.yaml"]
    return parse_config(yaml.safe_load(text), [], "config.yaml")


def test_every_manifest_is_clean_yaml():
    command = [BIN / "yamllint", "-s", "-c", FOLDER / ".yamllint", FOLDER]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("name", CORE)
def test_core_kinds_follow_kubernetes_schemas(name):
    for document in yaml.safe_load_all((FOLDER / name).read_text()):
        validate.validate(document, "1.33", strict=True)


def test_the_schemas_refuse_a_misspelt_field():
    job = documents("job.yaml")["Job"]
    job["spec"]["template"]["spec"]["containers"][0]["livenesProbe"] = {}
    with pytest.raises(validate.ValidationError, match="livenesProbe"):
        validate.validate(job, "1.33", strict=True)


def test_the_kubeflow_runtime_holds_a_valid_job():
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "node"}}
    validate.validate(job | {"spec": runtime_job()["template"]["spec"]}, "1.33", strict=True)


def test_the_kubeflow_job_names_its_runtime():
    """The names that Trainer looks for: the job `node`, its container `node`, the ancestor label."""
    found = documents("trainjob.yaml")
    runtime, job = found["TrainingRuntime"], found["TrainJob"]
    assert runtime["apiVersion"] == job["apiVersion"] == "trainer.kubeflow.org/v1alpha1"
    assert job["spec"]["runtimeRef"] == {
        "apiGroup": "trainer.kubeflow.org",
        "kind": "TrainingRuntime",
        "name": runtime["metadata"]["name"],
    }
    assert job["spec"]["trainer"]["numNodes"] == runtime["spec"]["mlPolicy"]["numNodes"]
    assert runtime["spec"]["mlPolicy"]["torch"] == {}
    assert runtime_job()["name"] == pod("trainjob.yaml")["containers"][0]["name"] == "node"
    labels = runtime_job()["template"]["metadata"]["labels"]
    assert labels == {"trainer.kubeflow.org/trainjob-ancestor-step": "trainer"}


def test_both_jobs_start_the_same_pod():
    plain, kubeflow = pod("job.yaml"), pod("trainjob.yaml")
    assert plain.pop("subdomain") == documents("job.yaml")["Service"]["metadata"]["name"]
    [first], [second] = plain.pop("containers"), kubeflow.pop("containers")
    assert plain == kubeflow
    meeting = {"NNODES", "NODE_RANK", "RDZV_ENDPOINT", "NPROC_PER_NODE"}  # Trainer sets these by itself
    assert [each for each in first.pop("env") if each["name"] not in meeting] == second.pop("env")
    assert first | {"name": "node"} == second


def test_the_pods_of_the_plain_job_meet():
    found = documents("job.yaml")
    job, service = found["Job"], found["Service"]
    env = {each["name"]: each for each in pod("job.yaml")["containers"][0]["env"]}
    assert job["spec"]["completionMode"] == "Indexed"
    assert job["spec"]["completions"] == job["spec"]["parallelism"] == int(env["NNODES"]["value"])
    host, port = env["RDZV_ENDPOINT"]["value"].split(":")
    assert host == f"{job['metadata']['name']}-0.{service['metadata']['name']}"
    assert service["spec"]["ports"] == [{"name": "rendezvous", "port": int(port)}]
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["publishNotReadyAddresses"] is True
    labels = job["spec"]["template"]["metadata"]["labels"] | {"batch.kubernetes.io/job-name": "partialfc"}
    assert service["spec"]["selector"].items() <= labels.items()
    field = env["NODE_RANK"]["valueFrom"]["fieldRef"]["fieldPath"]
    assert field == "metadata.annotations['batch.kubernetes.io/job-completion-index']"
    for name in env:
        assert name == "HOME" or re.search(rf"^#   {name} ", LAUNCHER, re.MULTILINE), name


def test_the_plain_job_outlives_twenty_evictions():
    """The evicted pod is not counted, the others end with it and are."""
    spec = documents("job.yaml")["Job"]["spec"]
    assert spec["backoffLimit"] == 20 * (spec["completions"] - 1)
    [rule] = spec["podFailurePolicy"]["rules"]
    assert rule["action"] == "Ignore"


def test_every_rank_is_scraped_and_the_first_is_probed(config):
    [container] = pod("job.yaml")["containers"]
    gpus = container["resources"]["limits"]["nvidia.com/gpu"]
    env = {each["name"]: each.get("value") for each in container["env"]}
    assert int(env["NPROC_PER_NODE"]) == gpus == container["resources"]["requests"]["nvidia.com/gpu"]
    ports = [(f"metrics-{rank}", config.metrics.port + rank) for rank in range(gpus)]
    assert [(each["name"], each["containerPort"]) for each in container["ports"]] == ports
    assert config.metrics.bind == "0.0.0.0"
    monitor = documents("podmonitor.yaml")["PodMonitor"]
    assert monitor["apiVersion"] == "monitoring.coreos.com/v1"
    assert [each["port"] for each in monitor["spec"]["podMetricsEndpoints"]] == [name for name, _ in ports]
    labels = documents("job.yaml")["Job"]["spec"]["template"]["metadata"]["labels"]
    assert monitor["spec"]["selector"]["matchLabels"] == labels
    assert labels[monitor["spec"]["jobLabel"]] == "partialfc"  # the label `job` in the alert rules
    for probe in ("startupProbe", "livenessProbe"):
        assert container[probe]["httpGet"] == {"path": "/metrics", "port": "metrics-0"}


def test_paths_of_the_config_are_mounted(config):
    [container] = pod("job.yaml")["containers"]
    mounts = {each["mountPath"]: each for each in container["volumeMounts"]}
    assert Path(container["args"][0]).parent == Path(mounts["/etc/partialfc"]["mountPath"])
    assert Path(container["args"][0]).name in documents("config.yaml")["ConfigMap"]["data"]
    volumes = {each["name"]: each for each in pod("job.yaml")["volumes"]}
    assert {each["name"] for each in mounts.values()} == set(volumes)
    assert config.run.dir.is_relative_to("/runs")
    assert "readOnly" not in mounts["/runs"]
    for path in (config.data.train, *config.verification.sets.values()):
        assert path.is_relative_to("/data")
    claims = [d["metadata"]["name"] for d in yaml.safe_load_all((FOLDER / "storage.yaml").read_text())]
    claimed = [each.get("persistentVolumeClaim") for each in volumes.values()]
    assert [each["claimName"] for each in claimed if each] == claims
    assert volumes["shared-memory"]["emptyDir"]["medium"] == "Memory"
    assert mounts["/dev/shm"]["name"] == "shared-memory"
    config_map = documents("config.yaml")["ConfigMap"]["metadata"]["name"]
    assert volumes["config"]["configMap"]["name"] == config_map


def test_the_pod_is_the_images_user_and_nothing_more():
    spec = pod("job.yaml")
    dockerfile = (ROOT / "docker" / "Dockerfile").read_text()
    [user] = re.findall(r"^USER (\d+):\1$", dockerfile, re.MULTILINE)
    security = spec["securityContext"]
    assert security["runAsNonRoot"] is True
    assert {security[key] for key in ("runAsUser", "runAsGroup", "fsGroup")} == {int(user)}
    [container] = spec["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert spec["automountServiceAccountToken"] is False
    assert "Secret" not in "".join(path.read_text() for path in FOLDER.glob("*.yaml"))
    [copied] = re.findall(r"^COPY launch/torchrun\.sh (\S+)$", dockerfile, re.MULTILINE)
    assert container["command"] == [f"{copied}torchrun.sh"]


def test_a_pod_has_time_for_its_last_checkpoint():
    [default] = re.findall(r"SHUTDOWN_TIMEOUT:-(\d+)", LAUNCHER)
    assert pod("job.yaml")["terminationGracePeriodSeconds"] > int(default)


def test_the_service_is_probed_where_no_token_is_needed_and_started_with_options_that_there_are():
    found = documents("serve.yaml")
    spec = found["Deployment"]["spec"]
    served = spec["template"]["spec"]
    [container] = served["containers"]
    probes = [container[f"{kind}Probe"]["httpGet"] for kind in ("startup", "readiness", "liveness")]
    assert {each["path"] for each in probes} <= set(PROBES)
    [port] = container["ports"]
    assert {each["port"] for each in probes} == {port["name"]}
    assert port["containerPort"] == inspect.signature(serve).parameters["port"].default
    [service] = found["Service"]["spec"]["ports"]
    assert service["targetPort"] == port["name"]
    assert found["Service"]["spec"]["selector"] == spec["template"]["metadata"]["labels"]
    options = dict(zip(container["args"][1::2], container["args"][2::2], strict=True))
    known = {each.removeprefix("--").replace("-", "_") for each in options}
    assert known <= inspect.signature(serve).parameters.keys()
    mounts = {each["mountPath"]: each["name"] for each in container["volumeMounts"]}
    assert mounts[options["--gallery"]] == "gallery"
    assert mounts[str(Path(options["--token-file"]).parent)] == "token"
    assert {each["name"] for each in served["volumes"]} == set(mounts.values())
    before = int(container["lifecycle"]["preStop"]["exec"]["command"][-1])
    assert served["terminationGracePeriodSeconds"] > before + Limits().longest_seconds
    assert spec["strategy"] == {"type": "Recreate"}
    assert spec["replicas"] == 1
    assert served["securityContext"] == pod("job.yaml")["securityContext"]
    assert container["securityContext"] == pod("job.yaml")["containers"][0]["securityContext"]


def test_the_service_is_scraped_with_its_token_as_the_job_of_the_alerts():
    monitor = documents("serve-podmonitor.yaml")["PodMonitor"]
    assert monitor["apiVersion"] == documents("podmonitor.yaml")["PodMonitor"]["apiVersion"]
    template = documents("serve.yaml")["Deployment"]["spec"]["template"]
    labels = template["metadata"]["labels"]
    assert monitor["spec"]["selector"]["matchLabels"] == labels
    rules = (ROOT / "docker" / "prometheus" / "serve_rules.yaml").read_text()
    assert f'up{{job="{labels[monitor["spec"]["jobLabel"]]}"}}' in rules
    [endpoint] = monitor["spec"]["podMetricsEndpoints"]
    [container] = template["spec"]["containers"]
    assert endpoint["port"] == container["ports"][0]["name"]
    token = Path(container["args"][container["args"].index("--token-file") + 1])
    [mount] = [each for each in container["volumeMounts"] if Path(each["mountPath"]) == token.parent]
    [volume] = [each for each in template["spec"]["volumes"] if each["name"] == mount["name"]]
    credentials = endpoint["authorization"]["credentials"]
    assert credentials == {"name": volume["secret"]["secretName"], "key": token.name}
