"""The HTTP service: embeds, verifies and searches images, and keeps what is added to a gallery.

`start` puts it together and `server` is its process. `app` and `gallery_routes` have the routes behind
`gate`, which reads the `target` of a request; `service` and `searcher` what these share: `body` reads a
request within `limits`, `pixels` decodes, `batcher` has the queue before the model. `gallery` is searched by
name. `problem` is the answer to what breaks a rule. FastAPI and uvicorn are imported by the routes and
`server` alone.

May import the `card`, `gallery`, `model` and `rows` of `serving`, `data/images`, `files` and `errors`.
"""
