import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { SETTINGS } from "../worker-host/host/settings/settings.ts";
import { ROOT } from "./harness/host.ts";

const SETTINGS_ROW = /^\|.*`(MQTT|WORKER|LOG)_[A-Z_]+`.*\|$/;

test("README.md's settings table has each setting's flag, variable, key, default and meaning, and no other", () => {
  const rows = readFileSync(join(ROOT, "README.md"), "utf8")
    .split("\n")
    .filter((line) => SETTINGS_ROW.test(line))
    .map((line) =>
      line
        .split("|")
        .slice(1, -1)
        .map((cell) => cell.trim()),
    );
  const expected = SETTINGS.map((setting) => [
    `\`${setting.flag}\``,
    `\`${setting.env}\``,
    `\`${setting.key}\``,
    "fallback" in setting ? `\`${setting.fallback}\`` : "",
    setting.description,
  ]);
  expect(rows).toEqual(expected);
});
