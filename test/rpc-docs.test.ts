import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { createVerbs } from "../builtin-workers/console/verbs.ts";
import { z } from "../worker-host/index.ts";
import { ROOT } from "./harness/host.ts";

const FILE = join(ROOT, "docs/rpc.md");

test("docs/rpc.md has each verb of the registry, with its role and its kwargs", () => {
  const nothing = async () => {};
  const verbs = createVerbs({
    haunt: { prefix: "halloween", host: "worker_host" },
    meta: { id: "", version: "" },
    call: nothing,
    allStop: async () => ({ engaged: true }),
    descriptionOf: () => undefined,
    log: async () => [],
  });
  const rows = [...verbs].map(([name, { role, what, kwargs }]) => {
    const { properties = {}, required = [] } = z.toJSONSchema(kwargs, { io: "input" });
    const named = Object.keys(properties).map((key) => `\`${key}${required.includes(key) ? "" : "?"}\``);
    return `| \`${name}\` | ${role} | ${named.join(", ")} | ${what} |`;
  });
  const table = ["| command | role | kwargs | what it does |", "| --- | --- | --- | --- |", ...rows].join("\n");
  const text = readFileSync(FILE, "utf8");
  const made = text.replace(
    /(<!-- made of .*-->\n)[\s\S]*(<!-- end -->)/,
    (_, begin, end) => `${begin}${table}\n${end}`,
  );
  if (process.env.UPDATE) writeFileSync(FILE, made);
  else expect(text).toBe(made);
});
