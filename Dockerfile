# The app with the model in the folder `model`, on a CPU:
#   docker build -t mlc_app .
#   docker run -p 8866:8866 -e MLC_APP_TOKEN=... mlc_app
FROM python:3.12-slim
RUN pip install --no-cache-dir uv
WORKDIR /src
COPY . .
RUN uv pip install --system --no-cache --torch-backend=cpu '.[app,heic]' && rm -rf /src
WORKDIR /app
COPY model model
RUN useradd --create-home app
USER app
EXPOSE 8866
HEALTHCHECK --start-period=30s CMD ["python", "-c", \
    "from urllib.request import urlopen; urlopen('http://127.0.0.1:8866/health', timeout=5)"]
# What the container is called outside, such as https://photos.example.org; only that name is let in besides this machine's
ENV BASE_URL=/
CMD ["sh", "-c", "exec mlc_app model --ip 0.0.0.0 --port 8866 --base-url \"$BASE_URL\""]
