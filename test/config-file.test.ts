// biome-ignore-all lint/suspicious/noTemplateCurlyInString: that is how a config names a variable
import { join } from "node:path";
import { expect, test } from "vitest";
import { parseConfigText, readConfigFile } from "../worker-host/host/config/config-file.ts";
import { makeFolder } from "./harness/folder.ts";

const DEEP = `{"a": ${"[".repeat(30_000)}1${"]".repeat(30_000)}}`;

test.each([
  ["config.yaml", DEEP, "config.yaml:1:106: nested more than 100 levels deep"],
  ["config.json", DEEP, "config.json:1:106: nested more than 100 levels deep"],
  ["config.json", DEEP.replace("}", ', "a": 1}'), "config.json:1:106: nested more than 100 levels deep"],
  ["config.yaml", `a:\n  ${"- ".repeat(5_000)}1`, "config.yaml:2:201: nested more than 100 levels deep"],
  ["config.yaml", "a: &x\n  b: *x\n", "config.yaml:1:1: its aliases make it nested more than 100 levels deep"],
])("%s that would run out of stack has a fault", (name, text, fault) => {
  expect(parseConfigText(name, text, {})).toMatchObject({ config: {}, fault, warnings: [] });
});

test("a config as deep as can be is read", () => {
  const text = `{"a": ${"[".repeat(99)}1${"]".repeat(99)}}`;
  for (const name of ["config.json", "config.yaml"]) {
    expect(JSON.stringify(parseConfigText(name, text, {}).config)).toBe(text.replace(" ", ""));
  }
});

test("a variable is one of the environment, not of every object", () => {
  const { config, warnings } = parseConfigText("c.yaml", "a: x${constructor}\nb: ${__proto__:-none}\n", process.env);
  expect(config).toEqual({ a: "x", b: "none" });
  expect(warnings).toEqual([expect.stringContaining("${constructor} is not set in the environment")]);
});

test("values are those of JSON, whatever tags and directives a file has", () => {
  const { config, warnings } = parseConfigText("c.yaml", "a: !!set {x, y}\nb: !!binary aGk=\n", {});
  expect(config).toEqual({ a: { x: null, y: null }, b: "aGk=" });
  expect(warnings).toEqual([
    expect.stringMatching(/^c\.yaml:1:4: .*set/),
    expect.stringMatching(/^c\.yaml:2:4: .*binary/),
  ]);
  expect(parseConfigText("c.yaml", "%YAML 1.1\n---\na: 2001-12-14\n", {}).config).toEqual({ a: "2001-12-14" });
});

test("a value in double braces, which YAML takes for a key, is a warning with its place", () => {
  expect(parseConfigText("c.yaml", "a: {{ fog }}\n", {}).warnings).toEqual([
    "c.yaml:1:5: a list or map as a key is taken as a text: put it in quotes",
  ]);
});

test("a longer file than a person writes is refused with its size, before it is parsed", async () => {
  const folder = makeFolder({ "config.yaml": `a: [${"1, ".repeat(800_000)}]\n` });
  const path = join(folder, "config.yaml");
  const began = performance.now();
  const { config, fault } = await readConfigFile(path, { env: {}, show: () => "config.yaml" });
  expect({ config, fault }).toEqual({
    config: {},
    fault: "config.yaml: can't be read (it has 2400006 bytes: expected 65536 at most)",
  });
  expect(performance.now() - began).toBeLessThan(1_000);
});

test("a variable without an end costs no time", () => {
  const began = performance.now();
  const text = "${A:-".repeat(12_000);
  expect(parseConfigText("config.yaml", `a: "${text}"`, {}).config).toEqual({ a: text });
  expect(performance.now() - began).toBeLessThan(1_000);
});
