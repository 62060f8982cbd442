# difyoff itself, for machines that have only Docker:
#
#   docker build -t difyoff .
#   docker run --rm -v "$PWD:/work" difyoff build --verify PLUGIN
#
# The package is written into the folder it was run in. To verify in the daemon's image as well, the container needs the
# engine: add `-v /var/run/docker.sock:/var/run/docker.sock` and say `--verify=docker`.
ARG BASE=python:3.12-slim
FROM ${BASE}

# uv comes with difyoff; a compiler is for dependencies that have no wheel.
RUN apt-get update && apt-get install -y --no-install-recommends build-essential git && rm -rf /var/lib/apt/lists/*
COPY . /src
RUN python3.12 -m venv /opt/difyoff && /opt/difyoff/bin/pip install --no-cache-dir /src && rm -rf /src
ENV PATH=/opt/difyoff/bin:$PATH DIFYOFF_CACHE_DIR=/cache
VOLUME /cache
WORKDIR /work
ENTRYPOINT ["difyoff"]
CMD ["--help"]
