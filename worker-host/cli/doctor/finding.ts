/** What one look has found. */
export interface Finding {
  what: string;
  status: "ok" | "warn" | "fail";
  text: string;
  /** What to do about it. */
  remedy?: string;
}

export function ok(what: string, text: string): Finding {
  return { what, status: "ok", text };
}

export function warn(what: string, text: string, remedy: string): Finding {
  return { what, status: "warn", text, remedy };
}

export function fail(what: string, text: string, remedy: string): Finding {
  return { what, status: "fail", text, remedy };
}
