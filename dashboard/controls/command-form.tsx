import { useSignal } from "@preact/signals";
import { useMemo } from "preact/hooks";
import type { Values } from "../../worker-host/contract/bus.ts";
import { type Field, fieldsFor, readField, readForm } from "../../worker-host/contract/form.ts";
import { faultOfArgs, type PropCommand, whyNot } from "../../worker-host/contract/prop.ts";
import type { Parts } from "../parts.ts";
import { PressButton } from "./press-button.tsx";

interface CommandFormProps extends Parts {
  id: string;
  command: PropCommand;
  values: Values;
}

/** A command with an input for each of its values. What does not fit is refused in words, and not sent. */
export function CommandForm({ id, command, values, store, link }: CommandFormProps) {
  const { args, argsOptional } = command;
  const fields = useMemo(() => (args ? fieldsFor(args, argsOptional) : []), [args]);
  const texts = useSignal(fields.map(({ text }) => text));
  const tried = useSignal(false);
  const read = () => {
    if (argsOptional && texts.value.every((text) => text === "")) return { args: undefined };
    const filled = readForm(fields, texts.value);
    const refusal = filled.refusal ?? faultOfArgs(command, filled.args);
    return refusal === undefined ? { args: filled.args } : { refusal };
  };
  return (
    <div class="command">
      {command.description !== "" && <p class="about">{command.description}</p>}
      {fields.map((field, index) => (
        <Input
          key={field.key}
          field={field}
          text={texts.value[index] ?? ""}
          tried={tried.value}
          onText={(text) => {
            texts.value = texts.value.with(index, text);
          }}
        />
      ))}
      <PressButton
        label={command.label}
        holdMs={command.held ? 600 : 0}
        why={whyNot(command, values, store.situation.value)}
        fault={() => {
          tried.value = true;
          return read().refusal;
        }}
        fire={(pressedAt) => link.tell(id, command.action, pressedAt, read().args)}
      />
    </div>
  );
}

interface InputProps {
  field: Field;
  text: string;
  /** It was to be sent: then also what is missing is a fault. */
  tried: boolean;
  onText: (text: string) => void;
}

function Input({ field, text, tried, onText }: InputProps) {
  const { kind, label, about, hint, required, choices } = field;
  const onInput = (event: Event) => onText((event.currentTarget as HTMLInputElement).value);
  const fault = text !== "" || tried ? readField(field, text).fault : undefined;
  const more = [about, hint].filter((words) => words !== "").join("; ");
  const shared = { value: text, "aria-invalid": fault !== undefined };
  return (
    // biome-ignore lint/a11y/noLabelWithoutControl: its input is in it
    <label class="field">
      <span class="label">{label}</span>
      {kind === "choice" && (
        <select {...shared} onChange={onInput}>
          {(!required || text === "") && <option value="">–</option>}
          {choices.map((choice) => (
            <option key={JSON.stringify(choice)} value={JSON.stringify(choice)}>
              {wordFor(choice)}
            </option>
          ))}
        </select>
      )}
      {kind === "json" && <textarea {...shared} rows={3} spellcheck={false} onInput={onInput} />}
      {kind !== "choice" && kind !== "json" && (
        <input
          {...shared}
          inputMode={kind === "number" ? "decimal" : "text"}
          autocomplete="off"
          spellcheck={false}
          onInput={onInput}
        />
      )}
      {fault !== undefined && <span class="trouble">{fault}</span>}
      {more !== "" && <span class="about">{more}</span>}
    </label>
  );
}

function wordFor(choice: unknown): string {
  if (typeof choice === "boolean") return choice ? "on" : "off";
  return String(choice).slice(0, 60);
}
