# cellgennet without QuPath, for processors. Build it in a checkout; run it on the folder that holds your project:
#     docker build -t cellgennet .
#     docker run --rm -v "$PWD:/data" cellgennet segment MyProject
FROM python:3.12-slim

# torch's build without CUDA saves several gigabytes.
COPY constraints.txt /tmp/
RUN pip install --no-cache-dir -c /tmp/constraints.txt torch==2.13.0 --index-url https://download.pytorch.org/whl/cpu

COPY . /tmp/source
RUN pip install --no-cache-dir -c /tmp/constraints.txt "/tmp/source[train,cluster,h5ad,dicom,openslide,bioimageio]" \
    && rm -rf /tmp/source

# Files are written by whoever runs the container (docker run --user), so caches need a place that anyone can write.
ENV HOME=/tmp MPLCONFIGDIR=/tmp/matplotlib NUMBA_CACHE_DIR=/tmp/numba
WORKDIR /data
ENTRYPOINT ["cellgennet"]
CMD ["--help"]
