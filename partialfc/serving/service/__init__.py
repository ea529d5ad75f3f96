"""The HTTP service: embeds and verifies images, those of many requests in few calls of the model.

`start` puts it together and `server` is its process. `app` has the routes behind `gate`, and `service` what
these share: `body` reads a request within `limits`, `pixels` decodes, `batcher` has the queue before the
model. `problem` is the answer to what breaks a rule. `app` and `server` alone import FastAPI and uvicorn.

May import `serving/model` and `serving/card`, `data/images` and `errors`.
"""
