# lgd on the CPU. Build in the root of the repository:  docker build -f docker/cpu.Dockerfile -t lgd:cpu .
# Run:  docker run --rm -v "$PWD:/data" lgd:cpu distill digits --out runs/mine
FROM python:3.12-slim
COPY pyproject.toml hatch_build.py constraints.txt README.md LICENSE /src/
COPY src /src/src
RUN pip install --no-cache-dir -c /src/constraints.txt --extra-index-url https://download.pytorch.org/whl/cpu "/src[hf,s3]" \
    && rm -r /src
# Decoded images and the Hub's files are kept under /data, so that they outlive the container.
ENV OMP_WAIT_POLICY=passive XDG_CACHE_HOME=/data/.cache HF_HOME=/data/.cache/huggingface HOME=/data
WORKDIR /data
ENTRYPOINT ["lgd"]
CMD ["--help"]
