FROM node:24-slim AS base
WORKDIR /app
COPY package.json package-lock.json ./

FROM base AS build
RUN npm ci --ignore-scripts
COPY tsconfig.json tsconfig.build.json build.mjs compiled.cjs globals.mjs ./
COPY worker-host worker-host
COPY dashboard dashboard
RUN npm run build

# The scripts are left out: `postprepare` would compile, and the sources aren't here.
FROM base AS production
RUN npm ci --omit=dev --ignore-scripts
# A volume takes its owner from the folder that it is mounted on, hence the one that is copied below.
RUN mkdir data

FROM node:24-slim
ENV NODE_ENV=production
WORKDIR /app
COPY package.json package-lock.json ./
COPY --from=production /app/node_modules node_modules
COPY --from=production --chown=node:node /app/data data
COPY --from=build /app/dist dist
COPY worker-host/*.cjs worker-host/
COPY builtin-workers builtin-workers
COPY templates templates
USER node
HEALTHCHECK --interval=15s --timeout=10s --start-period=30s --retries=3 \
  CMD ["node", "worker-host/bin.cjs", "list", "--running"]
CMD ["node", "worker-host/bin.cjs"]
