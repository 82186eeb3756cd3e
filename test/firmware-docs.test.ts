import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { parse } from "yaml";
import { ROOT } from "./harness/host.ts";

const read = (path: string) => readFileSync(join(ROOT, path), "utf8");
const FIRMWARE = read("docs/firmware.md");
const BYOD = read("docs/bring-your-own-device.md");
const SKETCHES = readdirSync(join(ROOT, "props")).filter((prop) => {
  const names = readdirSync(join(ROOT, "props", prop));
  return names.includes("firmware") && readdirSync(join(ROOT, "props", prop, "firmware")).includes("firmware.ino");
});
const sketch = (prop: string) => read(`props/${prop}/firmware/firmware.ino`);

/** What all matches of a pattern with one group have in it. */
const all = (text: string, pattern: RegExp) => [...text.matchAll(pattern)].map(([, group = ""]) => group);
const sorted = (items: Iterable<string>) => [...new Set(items)].sort();

/** The part of a document under a heading, down to the next of its kind. */
function section(markdown: string, heading: string): string {
  const level = heading.match(/^#+/)?.[0] ?? "";
  const [, after] = markdown.split(`\n${heading}\n`);
  if (after === undefined) throw new Error(`no "${heading}"`);
  return after.split(new RegExp(`^#{1,${level.length}} `, "m"))[0] ?? "";
}

/** The rows of the tables in a text, each as its cells. */
function rows(markdown: string): string[][] {
  return markdown
    .split("\n")
    .filter((line) => /^ *\|/.test(line) && !/^[ |:-]+$/.test(line))
    .map((line) =>
      line
        .split(/(?<!\\)\|/)
        .slice(1, -1)
        .map((cell) => cell.trim()),
    );
}

/** What stands in code within the text, not in blocks. */
const code = (markdown: string) => all(markdown.replaceAll(/^ *```[\s\S]*?^ *```$/gm, ""), /`([^`]+)`/g);
const block = (markdown: string, language: string) =>
  new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\`$`, "m").exec(markdown)?.[1] ?? "";

/** The row whose first cell begins with this in code. */
function rowOf(part: string, name: string): string {
  const row = rows(part).find(([first = ""]) => code(first).some((each) => each.split(" ").includes(name)));
  if (row === undefined) throw new Error(`no row for ${name}`);
  return row.join(" | ");
}

test("four sketches are described", () => {
  expect(SKETCHES).toEqual(["coffin_jumper", "fogger", "grave_shaker", "panic_button"]);
});

describe.each(SKETCHES)("docs/firmware.md on %s has", (prop) => {
  const ino = sketch(prop);
  const part = section(FIRMWARE, `### \`${prop}\``);
  const readme = read(`props/${prop}/README.md`);

  test("its pins, and its README too", () => {
    const pins = [...ino.matchAll(/\b(\w+_PIN) = (\d+)/g)].map(([, name, pin]) => `${pin} \`${name}\``);
    expect(pins.length).toBeGreaterThan(0);
    const described = rows(part).filter(([, , third]) => third === undefined);
    expect(described.slice(1).map(([first]) => first)).toEqual(expect.arrayContaining(pins));
    expect(described).toHaveLength(pins.length + 1);
    for (const pin of pins) expect(readme).toMatch(new RegExp(`\\b${pin.split(" ")[0]}\\b`));
  });

  test("its commands with the bounds of their arguments, and no other, and its README too", () => {
    const calls = [...ino.matchAll(/board\.command\("(\w+)",[\s\S]*?\);\n/g)];
    const names = calls.map(([, name = ""]) => name);
    const described = rows(part).filter(([, , third]) => third !== undefined);
    const arms = /\.arms = true/.test(ino) ? ["arm", "disarm"] : [];
    expect(described.slice(1).flatMap(([first = ""]) => code(first))).toEqual([...arms, ...names]);
    for (const [call = "", name = ""] of calls) {
      const row = rowOf(part, name);
      for (const [, arg, least, most, otherwise] of call.matchAll(
        /prop::(?:duration|number)\("(\w+)", (\d+), (\d+), (\d+)\)/g,
      )) {
        expect(row).toContain(`\`${arg}\`: ${least} to ${most}, ${otherwise} if not named`);
      }
      for (const [, arg, words = ""] of call.matchAll(/prop::word\("(\w+)", "([\w|]+)", 0\)/g)) {
        const [first] = words.split("|");
        expect(row).toContain(`\`${arg}\`: \`${words.replaceAll("|", "` or `")}\`, \`${first}\` if not named`);
      }
    }
    for (const name of [...arms, ...names]) expect(readme, name).toMatch(new RegExp(`\`${name}\\b`));
  });

  test("its states and telemetry, and its README too", () => {
    const body = /const char\* state\(\) \{([\s\S]*?)\n?\}\n/.exec(ino)?.[1] ?? "";
    const states = all(body, /"(\w+)"/g);
    expect(states.length).toBeGreaterThan(1);
    const line = /^States: ([\s\S]*?)(?:\n\n|$(?![\s\S]))/m.exec(part)?.[1] ?? "";
    const [told = "", telemetry = ""] = line.split("Telemetry:");
    expect(sorted(code(told))).toEqual(sorted(states));
    for (const key of all(ino, /board\.declare\("(\w+)"/g)) {
      expect(code(telemetry)).toContain(key);
      expect(readme).toContain(`\`telemetry/${key}\``);
    }
    for (const state of states) expect(readme).toContain(`\`${state}\``);
  });

  test("its limits and its id", () => {
    const id = /\.defaultId = "(\w+)"/.exec(ino)?.[1] ?? "";
    expect(code(part)).toContain(id);
    for (const [, output, limits = ""] of ino.matchAll(/prop::Output (\w+)\(\w+, \{(.*?)\}/g)) {
      const of = (name: string) => `${new RegExp(`\\.${name} = (\\d+)`).exec(limits)?.[1]} ms`;
      const row = rows(section(FIRMWARE, "## Safety")).find(([first]) => first === `\`${prop}\`: \`${output}\``);
      expect(row?.slice(1)).toEqual([of("maxOnMs"), of("cooldownMs"), `${of("windowMs")}: ${of("dutyMs")}`]);
    }
  });
});

test("docs/firmware.md has what all boards can be told, and say, and the menu as it is", () => {
  const library = read("props/lib/HalloweenProp/src/HalloweenProp.cpp");
  const common = section(FIRMWARE, "### What all of them have");
  const begin = /void HalloweenProp::begin\([\s\S]*?\n\}/.exec(library)?.[0] ?? "";
  const commands = all(begin, /command\("(\w+)"/g).filter((name) => !/^(dis)?arm$/.test(name));
  expect(
    sorted(
      rows(common)
        .slice(1)
        .flatMap(([first = ""]) => code(first)),
    ),
  ).toEqual(sorted(commands));
  for (const key of all(begin, /declare\("(\w+)"/g)) expect(code(common)).toContain(key);
  const items = all(read("props/lib/HalloweenProp/src/prop_settings.cpp"), /^ {4}\{"\w+", "([^"]+)"/gm);
  const menu = rows(section(FIRMWARE, "## A new board in ten minutes")).slice(1);
  expect(menu.map(([first]) => first)).toEqual(items.map((label, index) => `${index + 1} \`${label}\``));
});

test("docs/firmware.md names tests that are there", () => {
  const safety = rows(section(FIRMWARE, "## Safety")).filter(([, , shown]) => shown?.includes('"'));
  expect(safety.length).toBeGreaterThan(10);
  const suite = readdirSync(join(ROOT, "test/firmware"))
    .map((name) => read(`test/firmware/${name}`))
    .join("");
  for (const [layer = "", , shown = ""] of safety) {
    let text = suite;
    for (const [, path, name] of shown.matchAll(/`(test\/[^`]+)`|"([^"]+)"/g)) {
      if (path !== undefined) text = read(path);
      else expect(text, layer).toContain(`"${name}"`);
    }
  }
});

describe("what docs/firmware.md tells of the Linux build", () => {
  const sources = readdirSync(join(ROOT, "props/lib/host"))
    .filter((name) => name.endsWith(".cpp"))
    .map((name) => read(`props/lib/host/${name}`));
  const linux = section(FIRMWARE, "## On Linux");
  const [environment = "", stdout = "", stdin = ""] = linux.split(/^On \*\*std/m);
  const keys = (part: string) => sorted(rows(part).flatMap(([first = ""]) => code(first)));

  test("is each variable that it reads, and no other", () => {
    const text = sources.join("\n");
    const known = [...all(text, /getenv\("(\w+)"\)/g), ...all(text, /\bput\("(\w+)"/g)];
    expect(sorted(code(environment).filter((name) => /^[A-Z_]+$/.test(name)))).toEqual(sorted(known));
  });

  test("is each key on stdin, and no other", () => {
    const obey = /void obey\([\s\S]*?\n\}/.exec(read("props/lib/host/host.cpp"))?.[0] ?? "";
    expect(keys(stdin)).toEqual(sorted(all(obey, /fields, "(\w+)"/g)));
  });

  test("is each key on stdout, and no other", () => {
    const traced = sources.flatMap((text) =>
      text.split("\n").flatMap((line) => (/trace\(/.test(line) ? all(line, /\\"(\w+)\\":/g) : [])),
    );
    expect(keys(stdout)).toEqual(expect.arrayContaining(sorted(traced.filter((key) => key !== "ms"))));
    const harness = /interface Trace \{([\s\S]*?)\n\}/.exec(read("test/harness/sketch.ts"))?.[1] ?? "";
    expect(keys(stdout)).toEqual(sorted(all(harness, /^ {2}(\w+)\??:/gm)).filter((key) => key !== "ms"));
    expect(stdout).toContain("with `ms`");
  });
});

describe("the files for a person's setup", () => {
  const file = (prop: string, name: string) => read(`props/${prop}/firmware/${name}`);

  test.each(["sketch.yaml", "platformio.ini", "secrets.example.h"])("%s is the same for all sketches", (name) => {
    expect(new Set(SKETCHES.map((prop) => file(prop, name))).size).toBe(1);
  });

  test("sketch.yaml pins the core, and finds the library", () => {
    const { profiles, default_profile } = parse(file("fogger", "sketch.yaml"));
    const profile = profiles[default_profile];
    expect(profile.fqbn).toBe("esp32:esp32:esp32");
    expect(profile.platforms).toEqual([
      {
        platform: expect.stringMatching(/^esp32:esp32 \(3\.3\.\d+\)$/),
        platform_index_url: expect.stringMatching(/^https:\/\/espressif\.github\.io\/.*package_esp32_index\.json$/),
      },
    ]);
    const [{ dir }] = profile.libraries;
    expect(read(join("props/fogger/firmware", dir, "library.properties"))).toMatch(/^name=HalloweenProp$/m);
    expect(FIRMWARE).toContain(`--profile ${default_profile}`);
  });

  test("platformio.ini pins the same core, and leaves the Linux platform out", () => {
    const text = file("fogger", "platformio.ini");
    const lines = text.split("\n").filter((line) => line !== "" && !line.startsWith(";"));
    for (const line of lines) expect(line).toMatch(/^(\[[\w:]+\]|\w+ = \S.*)$/);
    const values = new Map(lines.flatMap((line) => [line.split(" = ") as [string, string]]));
    // 55.03.38 is IDF 5.5 with core 3.3.8.
    const [, patch] =
      /\/releases\/download\/55\.03\.3(\d)\/platform-espressif32\.zip$/.exec(values.get("platform") ?? "") ?? [];
    expect(file("fogger", "sketch.yaml")).toContain(`esp32:esp32 (3.3.${patch})`);
    expect(FIRMWARE).toContain(`3.3.${patch}`);
    expect(values.get("framework")).toBe("arduino");
    expect(values.get("src_dir")).toBe(".");
    expect(values.get("lib_ignore")).toBe("host");
    const libraries = readdirSync(join(ROOT, "props/fogger/firmware", values.get("lib_extra_dirs") ?? ""));
    expect(libraries).toEqual(expect.arrayContaining(["HalloweenProp", "host"]));
  });

  test("secrets.example.h has each macro that the library reads, and git ignores the copy", () => {
    const header = read("props/lib/HalloweenProp/src/HalloweenProp.h");
    const macros = (/Secrets SECRETS = \{(\w[^}]*)\}/.exec(header)?.[1] ?? "").split(", ");
    expect(macros).toHaveLength(6);
    expect(all(file("fogger", "secrets.example.h"), /^#define (\w+) /gm)).toEqual(macros);
    for (const macro of macros) expect(FIRMWARE).toContain(`\`${macro}\``);
    expect(read(".gitignore").split("\n")).toContain("props/*/firmware/secrets.h");
  });
});

test.each([
  ["docs/firmware.md", FIRMWARE, "strobe"],
  ["docs/bring-your-own-device.md", BYOD, "bare_board"],
])("%s shows its sketch whole", (_file, markdown, name) => {
  expect(block(markdown, "cpp")).toBe(read(`props/lib/examples/${name}/${name}.ino`));
});

describe("the ESPHome configuration of docs/bring-your-own-device.md", () => {
  const text = block(BYOD, "yaml");
  // The tags are ESPHome's own.
  const config = parse(text.replaceAll(/\$\{board_id\}/g, "lamp_hw"), { logLevel: "silent" });

  test("names topics of the contract only", () => {
    const ours =
      /^halloween\/(lamp_hw\/(cmd|state|description|status\/(availability|warn)|telemetry\/pong)|broadcast\/cmd|worker_host\/status\/all_stop)$/;
    const topics: string[] = [];
    JSON.stringify(config, (key, value) => {
      if (key === "topic") topics.push(value);
      return value;
    });
    expect(topics.length).toBeGreaterThan(15);
    expect(topics.filter((topic) => !ours.test(topic))).toEqual([]);
    expect(config.mqtt.topic_prefix).toBe("halloween/lamp_hw");
  });

  test("keeps the contract where a parser can see it", () => {
    const { mqtt, switch: switches, script, api } = config;
    const availability = { topic: "halloween/lamp_hw/status/availability", qos: 1, retain: true };
    expect(mqtt.birth_message).toEqual({ ...availability, payload: "online" });
    for (const message of [mqtt.will_message, mqtt.shutdown_message]) {
      expect(message).toEqual({ ...availability, payload: "offline" });
    }
    expect(mqtt).toMatchObject({ clean_session: true, keepalive: "10s", discovery: false, discover_ip: false });
    expect([mqtt.log_topic, api]).toEqual([null, undefined]);
    expect(switches).toMatchObject([{ internal: true, restore_mode: "ALWAYS_OFF" }]);
    expect(script.find(({ id }: { id: string }) => id === "light_up").mode).toBe("single");
    expect(mqtt.on_disconnect).toContainEqual({ "script.execute": "all_off" });
    for (const { qos } of [...mqtt.on_message, ...mqtt.on_json_message]) expect(qos).toBe(1);
    const settle = script.find(({ id }: { id: string }) => id === "settle");
    const description = settle.then.find((step: object) => "mqtt.publish" in step)["mqtt.publish"].payload;
    expect(JSON.parse(description)).toMatchObject({ contract: 1, id: "lamp_hw", board: "esp32" });
  });
});
