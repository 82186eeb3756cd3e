export { default } from "worker-host/vitest";
