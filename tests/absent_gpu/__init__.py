"""What Triton makes of the head's compiled kernels, for a GPU that is not there.

    calls.py      the calls that steps of the head make of its kernels, recorded on the pretend accelerator
    device.py     makes torch and Triton believe in a GPU of a named architecture; for a process of its own
    generate.py   Inductor's code of a recorded call for that GPU
    build.py      that code compiled by Triton and ptxas: registers, spilled bytes
    interpret.py  that code run by Triton's interpreter on the values of the recorded call
    worker.py     a process in which these run

It needs Triton, which torch's builds for CUDA bring along: pip install triton. It does not need a driver.
"""
