// `npm run firmware -- <sketch>`: builds one sketch for this machine and runs it against MQTT_HOST and MQTT_PORT.
import { spawnSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const here = fileURLToPath(new URL(".", import.meta.url));
const root = join(here, "../../..");
const [sketch] = process.argv.slice(2);
if (sketch === undefined) {
  process.stderr.write("name a sketch: npm run firmware -- coffin_jumper\n");
  process.exit(2);
}
const built = spawnSync("make", ["-s", "-C", here, sketch], { stdio: ["ignore", 2, 2] });
if (built.status !== 0) {
  const why = built.error?.message ?? "it was not built";
  process.stderr.write(`${why}; it takes: sudo apt install g++ make libmosquitto-dev libcjson-dev\n`);
  process.exit(1);
}
const nvs = join(root, "data/firmware", sketch);
mkdirSync(nvs, { recursive: true });
const env = { MQTT_HOST: "127.0.0.1", HOST_NVS: nvs, ...process.env };
const { status, signal } = spawnSync(join(root, "build/firmware/none", sketch), { env, stdio: "inherit" });
process.exit(status ?? (signal ? 130 : 1));
