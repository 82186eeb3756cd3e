// Loaded ahead of the host (NODE_OPTIONS=--import): no file takes a byte in the folder FULL_DISK, as on a disk that is full.
import fs from "node:fs";
import { syncBuiltinESMExports } from "node:module";

const { writeFileSync } = fs;
fs.writeFileSync = (path, ...rest) => {
  if (!String(path).startsWith(String(process.env.FULL_DISK))) return writeFileSync(path, ...rest);
  writeFileSync(path, "");
  throw Object.assign(new Error(`ENOSPC: no space left on device, write '${path}'`), { code: "ENOSPC" });
};
syncBuiltinESMExports();
