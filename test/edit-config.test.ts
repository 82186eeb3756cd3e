// biome-ignore-all lint/suspicious/noTemplateCurlyInString: that is how a config names a variable
import { execFileSync } from "node:child_process";
import {
  chmodSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  watch,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { describe, expect, test } from "vitest";
import { parse } from "yaml";
import { editConfigText, readConfigText, writeConfigFile } from "../worker-host/host/config/edit-config.ts";
import { type ConfigCase, configCase } from "./harness/config-cases.ts";
import { makeFolder } from "./harness/folder.ts";

type Values = Record<string, unknown>;

const YAML = `# Fogger of the cellar

# seconds
interval:   5      # between two


# --- Timing ---

# how long a burst is
ms: 3000
broker: "\${BROKER:-x}"   # from the environment
name: 'single'
targets:
  - {ids: [fogger], action: start, ms: 3000}   # first

  # the other
  - { ids: [strobe], action: stop }
defaults: &defaults
    a: 1
    # b: 2
left:
    <<: *defaults
    text: >-
      a long one that is folded
      over two lines
    plain: that goes
      over two lines
z: .5
# the end
`;

const JSON_TEXT = `{
    "b": 1,
    "list": [1, 2],
    "targets": [
        { "ids": ["fogger"], "ms": 3000 },
        {"ids":["x"]}
    ],
    "2": 1.0,
    "1": 12345678901234567890,
    "e": {}
}`;

/** The lines that an edit took out, and those that it put in, as `-` and `+`. */
function changes(name: string, text: string, patch: Values, at: string[] = []): string[] {
  const [old, now] = [text.split("\n"), editConfigText(name, text, at, patch).split("\n")];
  let [front, back] = [0, 0];
  const most = Math.min(old.length, now.length);
  while (front < most && old[front] === now[front]) front++;
  while (front + back < most && old.at(-1 - back) === now.at(-1 - back)) back++;
  const [out, put] = [old.slice(front, old.length - back), now.slice(front, now.length - back)];
  return [...out.map((line) => `-${line}`), ...put.map((line) => `+${line}`)];
}

const inYaml = (patch: Values, at?: string[]) => changes("config.yaml", YAML, patch, at);
const inJson = (patch: Values, text = JSON_TEXT) => changes("config.json", text, patch);

/** The example of RFC 7396, section 3, and its test cases of appendix A that are about objects. */
const RFC_7396: [Values, Values, Values][] = [
  [
    { title: "Goodbye!", author: { givenName: "John", familyName: "Doe" }, tags: ["a", "b"], content: "unchanged" },
    { title: "Hello!", phoneNumber: "+01", author: { familyName: null }, tags: ["a"] },
    { title: "Hello!", author: { givenName: "John" }, tags: ["a"], content: "unchanged", phoneNumber: "+01" },
  ],
  [{ a: "b" }, { a: "c" }, { a: "c" }],
  [{ a: "b" }, { b: "c" }, { a: "b", b: "c" }],
  [{ a: "b" }, { a: null }, {}],
  [{ a: "b", b: "c" }, { a: null }, { b: "c" }],
  [{ a: ["b"] }, { a: "c" }, { a: "c" }],
  [{ a: "c" }, { a: ["b"] }, { a: ["b"] }],
  [{ a: { b: "c" } }, { a: { b: "d", c: null } }, { a: { b: "d" } }],
  [{ a: [{ b: "c" }] }, { a: [1] }, { a: [1] }],
  [{ e: null }, { a: 1 }, { e: null, a: 1 }],
  [{}, { a: { bb: { ccc: null } } }, { a: { bb: {} } }],
];

test("a patch is merged as RFC 7396 has it", () => {
  for (const [old, patch, merged] of RFC_7396) {
    expect(JSON.parse(editConfigText("config.json", JSON.stringify(old), [], patch))).toEqual(merged);
    expect(parse(editConfigText("config.yaml", JSON.stringify(old), [], patch))).toEqual(merged);
  }
});

describe("YAML", () => {
  test("only the value changes, not its line or another", () => {
    expect(inYaml({ interval: 6 })).toEqual(["-interval:   5      # between two", "+interval: 6      # between two"]);
    expect(inYaml({ name: "it's" })).toEqual(["-name: 'single'", "+name: 'it''s'"]);
    expect(inYaml({ broker: "x" })).toEqual([
      '-broker: "${BROKER:-x}"   # from the environment',
      '+broker: "x"   # from the environment',
    ]);
    expect(inYaml({ a: 7 }, ["left"])).toEqual(["+    a: 7"]);
    expect(inYaml({ text: "short" }, ["left"])).toEqual([
      "-    text: >-",
      "-      a long one that is folded",
      "-      over two lines",
      "+    text: short",
    ]);
  });

  test("a list changes item by item", () => {
    const [fogger, strobe] = [
      { ids: ["fogger"], action: "start", ms: 3000 },
      { ids: ["strobe"], action: "stop" },
    ];
    expect(inYaml({ targets: [{ ...fogger, ms: 5000 }, strobe] })).toEqual([
      "-  - {ids: [fogger], action: start, ms: 3000}   # first",
      "+  - {ids: [fogger], action: start, ms: 5000}   # first",
    ]);
    expect(inYaml({ targets: [fogger, strobe, { ids: ["a", "b"] }] })).toEqual(["+  - {ids: [a, b]}"]);
    expect(inYaml({ targets: [fogger] })).toEqual(["-", "-  # the other", "-  - { ids: [strobe], action: stop }"]);
    expect(inYaml({ targets: [] }).at(-1)).toBe("+targets: []");
  });

  test("a new key comes last, in the indentation of the file", () => {
    expect(inYaml({ new: { text: "x\ny\n", on: "on", time: "12:30", list: [1, { a: "#" }] } })).toEqual([
      "+new:",
      "+    text: |",
      "+        x",
      "+        y",
      '+    "on": "on"',
      '+    time: "12:30"',
      "+    list:",
      "+        - 1",
      '+        - a: "#"',
    ]);
    expect(inYaml({ k: 1 }, ["worker", "instances", "left"])).toEqual([
      "+worker:",
      "+    instances:",
      "+        left:",
      "+            k: 1",
    ]);
  });

  test("a key goes with the comment right above it; headings stay", () => {
    expect(inYaml({ ms: null })).toEqual(["-", "-# how long a burst is", "-ms: 3000"]);
    expect(editConfigText("config.yaml", YAML, [], { interval: null })).toMatch(
      /^# Fogger of the cellar\n\n+# --- Timing ---\n\n# how long a burst is\nms: 3000\n/,
    );
    expect(editConfigText("c.yml", "# about the file\na: 1\nb: 2\n", [], { a: null })).toBe("# about the file\nb: 2\n");
    expect(editConfigText("c.yml", "a:\n# about b\nb: 2\n", [], { a: null })).toBe("# about b\nb: 2\n");
    expect(editConfigText("c.yml", "a:\n  - 1\n# about b\nb: 2\n", [], { a: null })).toBe("# about b\nb: 2\n");
    expect(editConfigText("c.yml", "# about the file\na: 1\n", [], { a: null })).toBe("# about the file\n{}\n");
  });

  test("comments stay where a value becomes another kind", () => {
    const edit = (text: string, patch: Values) => editConfigText("config.yaml", text, [], patch);
    expect(edit("a: 5 # five\nb: 1\n", { a: { c: 1 } })).toBe("a:\n  # five\n  c: 1\nb: 1\n");
    expect(edit("a: # list\n  - 1\n# next\nb: 1\n", { a: 5 })).toBe("a: 5 # list\n# next\nb: 1\n");
    expect(edit("a:\n# next\nb: 1\n", { a: 5 })).toBe("a: 5\n# next\nb: 1\n");
    expect(edit("a: # none yet\nb: 1\n", { a: 5 })).toBe("a: 5 # none yet\nb: 1\n");
    expect(edit("a:\n# next\nb: 1\n", { a: [5] })).toBe("a:\n  - 5\n# next\nb: 1\n");
    expect(edit("a: {b: 1} # x\n", { a: [5] })).toBe("a: [5] # x\n");
    expect(edit('a:   {"b":1}\nc:   5  # x\n', { a: { d: 2 } })).toBe('a:   {"b":1, d: 2}\nc:   5  # x\n');
  });

  test("an alias keeps its value when its anchor gets another", () => {
    const edit = (text: string, patch: Values, at: string[] = []) => editConfigText("config.yaml", text, at, patch);
    expect(edit("a: &x 5\nb: *x\nc: [*x, 1]\n", { a: 6 })).toBe("a: 6\nb: 5\nc: [5, 1]\n");
    expect(inYaml({ a: 7 }, ["defaults"])).toEqual([
      "-    a: 1",
      "-    # b: 2",
      "-left:",
      "-    <<: *defaults",
      "+    a: 7",
      "+    # b: 2",
      "+left:",
      "+    <<: {a: 1}",
    ]);
    expect(edit("a: &x {q: 1}\nb: *x\n", { r: 2 }, ["b"])).toBe("a: &x {q: 1}\nb:\n  q: 1\n  r: 2\n");
  });

  test("an own key beats what comes in by a merge key, and a key can leave it", () => {
    const text = "base: &b {ms: 1, deep: {a: 1}}\nleft:\n  <<: *b\n";
    const edit = (patch: Values) => editConfigText("config.yaml", text, ["left"], patch);
    const head = "base: &b {ms: 1, deep: {a: 1}}\nleft:\n";
    expect(edit({ ms: 5 })).toBe(`${head}  <<: *b\n  ms: 5\n`);
    expect(edit({ deep: { b: 2 } })).toBe(`${head}  <<: *b\n  deep:\n    a: 1\n    b: 2\n`);
    expect(edit({ ms: null })).toBe(`${head}  <<: {deep: {a: 1}}\n`);
    expect(edit({ ms: null, deep: null })).toBe("base: &b {ms: 1, deep: {a: 1}}\nleft: {}\n");
    expect(edit({ ms: 1 })).toBe(text);
  });

  test("line ends, the byte order mark and the end of the file stay", () => {
    const text = "\ufeff# head\r\na: 1 # one\r\n\r\n\r\nb: |\r\n  x\r\n  y\r\n";
    expect(editConfigText("config.yaml", text, [], { a: 2, c: { d: 3 } })).toBe(
      "\ufeff# head\r\na: 2 # one\r\n\r\n\r\nb: |\r\n  x\r\n  y\r\nc:\r\n  d: 3\r\n",
    );
    expect(editConfigText("config.yaml", "a: 1", [], { b: 2 })).toBe("a: 1\nb: 2");
    expect(editConfigText("config.yaml", "a: |+\n  x\n\n\n", [], { b: 2 })).toBe("a: |+\n  x\n\n\nb: 2\n");
    expect(editConfigText("config.yaml", "---\na: 1\n...\n", [], { b: 2 })).toBe("---\na: 1\nb: 2\n...\n");
  });

  test("a file with nothing in it takes the patch, without its nulls", () => {
    const patch = { a: { b: 1, c: null }, d: null };
    expect(editConfigText("config.yaml", "", [], patch)).toBe("a:\n  b: 1\n");
    expect(editConfigText("config.yaml", "# nothing yet\n", [], patch)).toBe("# nothing yet\n\na:\n  b: 1\n");
    expect(editConfigText("config.yaml", "{}\n", [], patch)).toBe("a:\n  b: 1\n");
    expect(editConfigText("config.yaml", "left:\n", ["left"], patch)).toBe("left:\n  a:\n    b: 1\n");
  });
});

test("JSON keeps order, indentation, what is on one line, numbers and the end of the file", () => {
  expect(inJson({ b: 2 })).toEqual(['-    "b": 1,', '+    "b": 2,']);
  expect(inJson({ b: null })).toEqual(['-    "b": 1,']);
  expect(inJson({ list: [1, 2, 3] })).toEqual(['-    "list": [1, 2],', '+    "list": [1, 2, 3],']);
  expect(inJson({ targets: [{ ids: ["fogger"], ms: 5 }, { ids: ["x"] }] })).toEqual([
    '-        { "ids": ["fogger"], "ms": 3000 },',
    '+        { "ids": ["fogger"], "ms": 5 },',
  ]);
  expect(inJson({ e: { n: [1, { a: [] }] } })).toEqual([
    '-    "e": {}',
    '+    "e": {',
    '+        "n": [',
    "+            1,",
    "+            {",
    '+                "a": []',
    "+            }",
    "+        ]",
    "+    }",
  ]);
  const edit = (text: string, patch: Values) => editConfigText("config.json", text, [], patch);
  expect(edit('{"a":1}\n', { b: [2, 3] })).toBe('{"a":1,"b":[2,3]}\n');
  expect(edit('{"a": 1}', { b: [2, 3] })).toBe('{"a": 1, "b": [2, 3]}');
  expect(edit('{\r\n\t"a": 1\r\n}\r\n', { a: 2, b: 2 })).toBe('{\r\n\t"a": 2,\r\n\t"b": 2\r\n}\r\n');
  expect(edit("{}", { a: 1 })).toBe('{\n  "a": 1\n}');
  expect(edit("", { a: 1, b: null })).toBe('{\n  "a": 1\n}\n');
  expect(() => edit('{"a": 1, "a": 2}', { b: 1 })).toThrow(/^config\.json:1:10: keys must be unique/);
});

test("a patch that changes nothing leaves the very text", () => {
  const odd = "\ufeffa :   1\r\n\r\n? b\n: [ 1,2 ]   \n#";
  for (const patch of [{}, { a: 1 }, { c: null }, { b: [1, 2] }]) {
    expect(editConfigText("config.yaml", odd, [], patch)).toBe(odd);
    expect(editConfigText("config.yaml", "", ["x"], {})).toBe("");
    expect(editConfigText("config.yaml", odd, ["x", "y"], { z: null })).toBe(odd);
  }
});

test("whatever is in file and patch, the result means what RFC 7396 says", () => {
  for (let seed = 1; seed <= 400; seed++) {
    const { yaml, json, old, patch, merged }: ConfigCase = configCase(seed);
    for (const [name, text, read] of [
      ["config.yaml", yaml, (edited: string) => parse(edited.replace(/^\ufeff/, ""), { merge: true }) ?? {}],
      ["config.json", json, JSON.parse],
    ] as const) {
      const why = `seed ${seed}, ${name}`;
      expect(isDeepStrictEqual(read(text), old), why).toBe(true);
      const edited = editConfigText(name, text, [], patch);
      expect(isDeepStrictEqual(read(edited), merged), why).toBe(true);
      expect(editConfigText(name, edited, [], patch), why).toBe(edited);
    }
  }
});

test("__proto__ and constructor are keys like any other", () => {
  const patch = JSON.parse('{"__proto__": {"evil": 1}, "constructor": {"prototype": {"evil": 1}}}') as Values;
  expect(editConfigText("config.yaml", "", [], patch)).toBe(
    "__proto__:\n  evil: 1\nconstructor:\n  prototype:\n    evil: 1\n",
  );
  expect(JSON.parse(editConfigText("config.json", "{}", ["__proto__"], patch))).toEqual(
    JSON.parse(`{"__proto__": ${JSON.stringify(patch)}}`),
  );
  expect(editConfigText("config.json", '{"__proto__": 1}', [], { a: 1 })).toBe('{"__proto__": 1, "a": 1}');
  expect(Object.hasOwn(Object.prototype, "evil")).toBe(false);
});

test("what can't be edited is refused, with its place", () => {
  const refusal = (name: string, text: string, at: string[] = [], patch: Values = { a: 1 }) => {
    try {
      return editConfigText(name, text, at, patch);
    } catch (error) {
      return `${(error as { code?: string }).code} ${(error as Error).message}`;
    }
  };
  expect(refusal("config.yaml", "b: 1\na: [")).toMatch(/^invalid_config config\.yaml:2:5: .*: mend it by hand first$/);
  expect(refusal("config.json", '{\n  "b": 1,\n}')).toMatch(/^invalid_config config\.json:2:\d+: .*trailing comma/);
  const expected = "expected keys and values, got";
  expect(refusal("config.yaml", "- 1")).toBe(
    `invalid_config config.yaml:1:1: ${expected} a list: mend it by hand first`,
  );
  expect(refusal("config.yaml", "b: 1\n\nleft: 5", ["left", "x"])).toBe(
    `invalid_config config.yaml:3:7: left: ${expected} a number: mend it by hand first`,
  );
  expect(refusal("config.json", '{"left":\n  [1]}', ["left"])).toBe(
    `invalid_config config.json:2:3: left: ${expected} a list: mend it by hand first`,
  );
  expect(refusal("config.yaml", "b: 1\n", [], { "<<": 1 })).toBe(
    "invalid_config config.yaml: is written in a way in which << can't be changed: do it by hand",
  );
  expect(refusal("config.yaml", "&\0")).toBe(
    "invalid_config config.yaml: is written in a way in which a can't be changed: do it by hand",
  );
  // Each try to write it made the file bigger: minutes, in which the host stood still.
  const large = Object.fromEntries(Array.from({ length: 900 }, (_, at) => [`k${at}`, "x".repeat(55)]));
  expect(refusal("config.yaml", "b: 1\n", [], { a: [{ "<<": large }] })).toBe(
    "invalid_config config.yaml: is written in a way in which a.0.<< can't be changed: do it by hand",
  );
  expect(JSON.parse(editConfigText("config.json", "{}", [], { "<<": 1 }))).toEqual({ "<<": 1 });
  expect(refusal("config.yaml", "b: &x\n  c: *x\n")).toBe(
    "invalid_config config.yaml:1:1: its aliases make it nested more than 100 levels deep: mend it by hand first",
  );
  expect(refusal("config.yaml", `{"a": ${"[? ".repeat(60)}1${"]".repeat(60)}}`, [], { b: 1 })).toBe(
    "invalid_config config.yaml: is written in a way in which b can't be changed: do it by hand",
  );
  const circular: Values = {};
  circular.a = circular;
  for (const [value, what] of [
    [undefined, "deep.0: undefined"],
    [Number.NaN, "deep.0: NaN"],
    [5n, "deep.0: 5"],
    [new Date(0), "deep.0: Date"],
    [new Map(), "deep.0: Map"],
    [() => 1, "deep.0: () => 1"],
    [circular, "deep.0.a.a.a.a.a.a: what is more than 64 levels deep"],
  ] as const) {
    const says = `invalid_value config.yaml: ${what} can't be written to a config: give what JSON has`;
    expect(refusal("config.yaml", "", [], { deep: [value] })).toBe(says);
  }
});

describe("writing", () => {
  const mode = (path: string) => statSync(path).mode & 0o777;

  test("a file is replaced as a whole, and keeps its mode", async () => {
    const folder = makeFolder({ "config.yaml": "a: 1\n" });
    const path = join(folder, "config.yaml");
    chmodSync(path, 0o640);
    const before = statSync(path);
    await writeConfigFile(path, "config.yaml", "a: 2\n");
    expect(readFileSync(path, "utf8")).toBe("a: 2\n");
    expect(mode(path)).toBe(0o640);
    expect(statSync(path).ino).not.toBe(before.ino);
    expect(statSync(path)).toMatchObject({ uid: before.uid, gid: before.gid });
    expect(readdirSync(folder)).toEqual(["config.yaml"]);
  });

  test("a new file has the mode that new files have", async () => {
    const path = join(makeFolder(), "config.yaml");
    await writeConfigFile(path, "config.yaml", "a: 1\n");
    expect(mode(path)).toBe(0o666 & ~process.umask());
  });

  test("a symbolic link stays one, also to a file that isn't there yet", async () => {
    const folder = makeFolder({ "real/config.yaml": "a: 1\n" });
    mkdirSync(join(folder, "backend"));
    symlinkSync("../real/config.yaml", join(folder, "backend/config.yaml"));
    symlinkSync("../real/new.yaml", join(folder, "backend/new.yaml"));
    for (const name of ["config.yaml", "new.yaml"]) {
      await writeConfigFile(join(folder, "backend", name), "config.yaml", "a: 2\n");
      expect(lstatSync(join(folder, "backend", name)).isSymbolicLink()).toBe(true);
      expect(readFileSync(join(folder, "real", name), "utf8")).toBe("a: 2\n");
    }
    expect(readdirSync(join(folder, "real"))).toEqual(["config.yaml", "new.yaml"]);
  });

  test("what is there for a moment is hidden", async () => {
    const folder = makeFolder({ "config.yaml": "a: 1\n" });
    const seen = new Set<string>();
    const watcher = watch(folder, (_, name) => seen.add(String(name)));
    await writeConfigFile(join(folder, "config.yaml"), "config.yaml", "a: 2\n");
    await expect.poll(() => seen.has("config.yaml")).toBe(true);
    watcher.close();
    expect([...seen].filter((name) => name !== "config.yaml" && !name.startsWith("."))).toEqual([]);
  });

  test("a folder that can't be written to is an error that says so, and nothing is left behind", async () => {
    const folder = makeFolder({ file: "", "config.yaml/x": "" });
    const fails = (path: string, says: RegExp) =>
      expect(writeConfigFile(join(folder, path), "config.yaml", "a: 1\n")).rejects.toMatchObject({
        code: "not_written",
        message: expect.stringMatching(says),
      });
    await fails("none/config.yaml", /^config\.yaml: can't be written \(ENOENT: .*\): see to /);
    await fails("file/config.yaml", /can't be written \(ENOTDIR: /);
    await fails("config.yaml", /can't be written \(EISDIR: /);
    expect(readdirSync(folder).toSorted()).toEqual(["config.yaml", "file"]);
  });

  test.skipIf(process.getuid?.() === 0)("so is one without the right to", async () => {
    const folder = makeFolder({ "config.yaml": "a: 1\n" });
    chmodSync(join(folder, "config.yaml"), 0o444);
    const refused = { code: "not_written", message: expect.stringContaining("EACCES") };
    await expect(writeConfigFile(join(folder, "config.yaml"), "config.yaml", "a: 2\n")).rejects.toMatchObject(refused);
    chmodSync(folder, 0o555);
    await expect(writeConfigFile(join(folder, "new.yaml"), "config.yaml", "a: 2\n")).rejects.toMatchObject(refused);
    chmodSync(folder, 0o755);
    expect(readFileSync(join(folder, "config.yaml"), "utf8")).toBe("a: 1\n");
  });

  test("a file that isn't there yet is empty, and one that is not in UTF-8, or a pipe, is not touched", async () => {
    const folder = makeFolder();
    expect(await readConfigText(join(folder, "none.json"), "none.json")).toBe("");
    const latin = Buffer.from("a: 1 # f\xfcnf\n", "latin1");
    writeFileSync(join(folder, "latin.yaml"), latin);
    await expect(readConfigText(join(folder, "latin.yaml"), "prop/latin.yaml")).rejects.toMatchObject({
      code: "invalid_config",
      message: "prop/latin.yaml: can't be read (not in UTF-8): mend it by hand first",
    });
    execFileSync("mkfifo", [join(folder, "pipe.yaml")]);
    await expect(readConfigText(join(folder, "pipe.yaml"), "prop/pipe.yaml")).rejects.toMatchObject({
      code: "invalid_config",
      message: "prop/pipe.yaml: can't be read (it is no file): mend it by hand first",
    });
  });
});

test("a long list is changed, and what would be too long is refused before any work", () => {
  const list = (first: number) => Array.from({ length: 5_000 }, (_, i) => first + i);
  const text = `a: 1\nl:\n${list(1000)
    .map((n) => `  - ${n}\n`)
    .join("")}`;
  expect(editConfigText("config.yaml", text, [], { l: [1] })).toBe("a: 1\nl:\n  - 1\n");
  expect(() => editConfigText("config.yaml", text, [], { m: list(10_000) })).toThrow(
    /^config\.yaml: it has \d+ bytes: expected 65536 at most, with what is to be written$/,
  );
});
