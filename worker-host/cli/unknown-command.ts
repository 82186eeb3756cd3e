import { closestMatch } from "leven";
import { WorkerHostError } from "../contract/errors.ts";

/** What is to be said of a word that came where the name of a command is expected, or before the command. */
export function unknownCommand(word: string, names: string[]): WorkerHostError {
  if (names.includes(word)) {
    return new WorkerHostError(
      "invalid_settings",
      `the command comes first, then its options: worker-host ${word} --…`,
    );
  }
  const meant = closestMatch(word, names, { maxDistance: 2 });
  return new WorkerHostError(
    "invalid_settings",
    `there is no command "${word}"; ${meant ? `did you mean "worker-host ${meant}"?` : `there are: ${names.join(", ")}`}`,
  );
}
