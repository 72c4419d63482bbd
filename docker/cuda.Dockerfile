# lgd on an NVIDIA GPU. Build in the root of the repository:  docker build -f docker/cuda.Dockerfile -t lgd:cuda .
# Run:  docker run --rm --gpus all --ipc host -v "$PWD:/data" lgd:cuda distill digits --out runs/mine
# torch's Linux wheels bring CUDA; the machine needs NVIDIA's driver and container toolkit.
FROM python:3.12-slim
COPY pyproject.toml hatch_build.py constraints.txt README.md LICENSE /src/
COPY src /src/src
RUN pip install --no-cache-dir -c /src/constraints.txt "/src[hf,s3]" && rm -r /src
ENV OMP_WAIT_POLICY=passive XDG_CACHE_HOME=/data/.cache HF_HOME=/data/.cache/huggingface HOME=/data
WORKDIR /data
ENTRYPOINT ["lgd"]
CMD ["--help"]
