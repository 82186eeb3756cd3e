/** The states of a worker's life, as its host sees it. */
export type Runstate = "starting" | "running" | "stopping" | "stopped" | "failed";

/** The payload of `<p>/<id>/status/runstate`. */
export interface RunstatePayload {
  state: Runstate;
  /** ISO 8601. */
  since: string;
  /** Why, where there is something to say. */
  detail?: string;
  /** The name of the host that runs it. */
  host: string;
}

/** What a host says of one of its workers, in its description. */
export interface WorkerSummary {
  id: string;
  /** The worker's file, as a person would write it. */
  file: string;
  /** Its config file, if it has one. */
  config?: string;
  /** `skipped`: found, but not to be run; `detail` says why. */
  state: Runstate | "skipped";
  detail?: string;
}

/** The payload of `<p>/worker_host/description`. */
export interface HostDescription {
  /** The version of the wire contract. */
  contract: 1;
  name: string;
  version: string;
  workers: WorkerSummary[];
}
