// biome-ignore-all lint/suspicious/noTemplateCurlyInString: that is how a config names a variable
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { stringify } from "yaml";
import { WorkerHostError } from "../worker-host/contract/errors.ts";
import { literal, parseConfigText, readConfigFile } from "../worker-host/host/config/config-file.ts";
import { editConfigText, readConfigText, writeConfigFile } from "../worker-host/host/config/edit-config.ts";
import { makeFolder } from "./harness/folder.ts";
import { configText, configValue, configValues } from "./harness/odd-configs.ts";
import { rounds } from "./harness/rounds.ts";

type Values = Record<string, unknown>;

const RUNS = { numRuns: rounds(200) };

const name = fc.constantFrom("config.json", "config.yaml");
describe("a config file", () => {
  const show = (path: string) => path.slice(path.lastIndexOf("/") + 1);

  test("gives values, or a fault in words, whatever is in it", async () => {
    const folder = makeFolder();
    const bytes = fc.oneof(
      fc.uint8Array(),
      configText.map((text) => Buffer.from(text)),
    );
    await fc.assert(
      fc.asyncProperty(
        name,
        bytes,
        fc.dictionary(fc.constantFrom("X", "Y"), fc.string()),
        async (file, content, env) => {
          const path = join(folder, file);
          writeFileSync(path, content);
          const { config, fault, warnings, lines } = await readConfigFile(path, { env, show });
          expect(config).toSatisfy(isValues);
          expect(depthOf(config)).toBeLessThanOrEqual(100);
          expect(strangers(config)).toEqual([]);
          if (fault !== undefined) {
            expect(config).toEqual({});
            expect(fault).toMatch(/^config\.(json|yaml):\d+:\d+: \S/);
            expect(fault).not.toContain("stack");
          }
          for (const warning of warnings) expect(warning).toMatch(/^config\.(json|yaml)(:\d+:\d+)?: \S/);
          for (const { line } of Object.values(lines)) expect(line).toBeGreaterThan(0);
          expect(JSON.stringify(config)).not.toContain("native code");
        },
      ),
      RUNS,
    );
  });

  test("means what was printed to it, and says in which line each key is", async () => {
    // In YAML, "<<" is no key of its own.
    const plain = configValues.filter((all) => !/\$\{|"<<":/.test(JSON.stringify(all)));
    await fc.assert(
      fc.asyncProperty(name, plain, fc.constantFrom(0, 2, 4), async (file, all, indent) => {
        const text = file.endsWith(".json")
          ? JSON.stringify(all, null, indent)
          : stringify(all, { indent: indent || 2 });
        const read = await readConfigFile(`/${file}`, { env: {}, show, overlay: new Map([[`/${file}`, text]]) });
        expect(read.fault).toBeUndefined();
        expect(Object.entries(read.config)).toEqual(Object.entries(all));
        expect(Object.keys(read.lines)).toEqual(expect.arrayContaining(Object.keys(all)));
      }),
      RUNS,
    );
  });

  test("takes from the environment what is in it, and nothing else", () => {
    const variable = fc.oneof(
      fc.stringMatching(/^[A-Z_]{1,5}$/),
      fc.constantFrom("constructor", "__proto__", "toString"),
    );
    fc.assert(
      fc.property(variable, fc.dictionary(variable, fc.string()), (one, env) => {
        const { config, warnings } = parseConfigText("c.yaml", `a: x\${${one}}\nb: \${${one}:-other}`, env);
        const given = new Map(Object.entries(env)).get(one);
        expect(config).toEqual({ a: `x${given ?? ""}`, b: given || "other" });
        expect(warnings.length).toBe(given === undefined ? 1 : 0);
      }),
    );
  });
});

test("a text that was made literal is that very text once more, whatever stands in it", () => {
  const parts = fc.constantFrom("$", "{", "}", "${", "A", "_1", ":-", " ", "${A}", "$${A:-x}", '"', "\n");
  const text = fc.oneof(
    fc.array(parts, { maxLength: 12 }).map((all) => all.join("")),
    fc.string(),
  );
  fc.assert(
    fc.property(name, text, fc.array(text), (file, one, list) => {
      const all = { one, deep: [{ list }] };
      const written = editConfigText(file, "", [], literal(all));
      const read = parseConfigText(file, written, { A: "secret" });
      expect(read).toMatchObject({ config: all, shown: all, filled: [], warnings: [] });
    }),
    { numRuns: 500 },
  );
});

describe("an edit of a config file", () => {
  // What stands for a variable means something else once it is read.
  const fixed = (text: string) => text.replaceAll("$", "");
  const patches = configValues.map((all) => JSON.parse(fixed(JSON.stringify(all))) as Values);
  const at = fc.oneof(fc.constant([]), fc.array(fc.constantFrom("a", "b", "worker", "__proto__"), { maxLength: 3 }));

  test("gives the values that RFC 7396 says, or is refused in words and leaves the very bytes", async () => {
    const folder = makeFolder();
    const content = fc.oneof(
      fc.uint8Array().map((bytes) => Buffer.from(bytes)),
      configText.map((text) => Buffer.from(fixed(text))),
    );
    await fc.assert(
      fc.asyncProperty(name, content, at, patches, async (file, before, keys, patch) => {
        const path = join(folder, file);
        writeFileSync(path, before);
        const read = () => parseConfigText(file, readFileSync(path, "utf8"), {});
        const old = read();
        try {
          const text = await readConfigText(path, file);
          await writeConfigFile(path, file, editConfigText(file, text, keys, patch));
        } catch (error) {
          expect(error).toBeInstanceOf(WorkerHostError);
          expect((error as Error).message).toMatch(/^config\.(json|yaml):/);
          expect(readFileSync(path).equals(before)).toBe(true);
          return;
        }
        const now = read();
        expect([old.fault, now.fault]).toEqual([undefined, undefined]);
        const there = keys.reduce<unknown>((outer, one) => new Map(entriesOf(outer)).get(one), old.config);
        // Nothing is added just to be patched with what changes nothing.
        const changes = !isDeepStrictEqual(sorted(merge(there, patch)), sorted(there ?? {}));
        const expected = keys.reduceRight<Values>((inner, one) => Object.fromEntries([[one, inner]]), patch);
        expect(sorted(now.config)).toEqual(sorted(changes ? merge(old.config, expected) : old.config));
      }),
      { numRuns: rounds(100) },
    );
  });

  test("leaves every line that belongs to a key that it doesn't touch", () => {
    const flow = configValue.filter((one) => !JSON.stringify(one).includes("\\u"));
    const block = fc.record({
      above: fc.boolean(),
      beside: fc.boolean(),
      nested: fc.option(fc.dictionary(fc.stringMatching(/^[a-z]{1,4}$/), flow, { minKeys: 1, maxKeys: 3 }), {
        nil: undefined,
      }),
      plain: flow,
      change: fc.option(fc.oneof(fc.constant(null), configValue), { nil: undefined, freq: 2 }),
    });
    const added = fc.dictionary(fc.stringMatching(/^new[a-z]{1,3}$/), configValue, { maxKeys: 2 });
    fc.assert(
      fc.property(
        fc.array(block, { minLength: 1, maxLength: 6 }),
        added,
        fc.boolean(),
        fc.boolean(),
        (blocks, more, crlf, blank) => {
          const eol = crlf ? "\r\n" : "\n";
          const texts = blocks.map(({ above, beside, nested, plain }, at) => {
            const behind = beside ? `  # beside ${at}` : "";
            const inner = Object.entries(nested ?? {}).flatMap(([one, item]) => [
              `  # in ${at}`,
              `  ${one}: ${JSON.stringify(item)} # at ${at}`,
            ]);
            const own = nested ? [`key${at}:${behind}`, ...inner] : [`key${at}:   ${JSON.stringify(plain)}${behind}`];
            return [...(above ? [`# above ${at}`] : []), ...own].join(eol);
          });
          const text = `# the head${eol}${eol}${texts.join(blank ? eol + eol : eol)}${eol}`;
          const changes = blocks.flatMap(({ change }, at) => (change === undefined ? [] : [[`key${at}`, change]]));
          const edited = editConfigText("config.yaml", text, [], { ...Object.fromEntries(changes), ...more });
          expect(edited.startsWith(`# the head${eol}`)).toBe(true);
          let from = 0;
          for (const [at, { change }] of blocks.entries()) {
            if (change !== undefined) continue;
            const found = edited.indexOf(texts[at] ?? "", from);
            expect(found, `block ${at} in ${edited}`).toBeGreaterThanOrEqual(from);
            from = found + 1;
          }
        },
      ),
      { numRuns: 40 },
    );
  });
});

function isValues(given: unknown): given is Values {
  return typeof given === "object" && given !== null && !Array.isArray(given);
}

function depthOf(given: unknown): number {
  if (typeof given !== "object" || given === null) return 0;
  return 1 + Math.max(0, ...Object.values(given).map(depthOf));
}

/** What neither JSON nor an unset variable gives. */
function strangers(given: unknown): unknown[] {
  if (typeof given !== "object" || given === null) {
    return ["string", "number", "boolean", "undefined"].includes(typeof given) || given === null ? [] : [given];
  }
  const plain = Array.isArray(given) || Object.getPrototypeOf(given) === Object.prototype;
  return plain ? Object.values(given).flatMap(strangers) : [given];
}

/** The pseudocode of RFC 7396, section 2. */
function merge(target: unknown, patch: unknown): unknown {
  if (!isValues(patch)) return patch;
  const merged = new Map(isValues(target) ? Object.entries(target) : []);
  for (const [one, item] of Object.entries(patch)) {
    if (item === null) merged.delete(one);
    else merged.set(one, merge(merged.get(one), item));
  }
  return Object.fromEntries(merged);
}

function entriesOf(given: unknown): [string, unknown][] {
  return isValues(given) ? Object.entries(given) : [];
}

/** The same values with their keys in order, `__proto__` too, which `toEqual` alone passes over. */
function sorted(given: unknown): unknown {
  if (Array.isArray(given)) return given.map(sorted);
  if (!isValues(given)) return given;
  return Object.entries(given)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([one, item]) => [one, sorted(item)]);
}
