// Loaded ahead of the host (NODE_OPTIONS=--import): each sync of a file takes SLOW_DISK_MS, as on a worn-out SD card.
import { open } from "node:fs/promises";
import { setTimeout } from "node:timers/promises";

const file = await open(new URL(import.meta.url));
const handle = Object.getPrototypeOf(file);
await file.close();
const { sync } = handle;
handle.sync = async function () {
  await setTimeout(Number(process.env.SLOW_DISK_MS));
  return sync.call(this);
};
