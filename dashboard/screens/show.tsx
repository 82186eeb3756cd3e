import { wrongWith } from "../../worker-host/contract/prop.ts";
import { Age } from "../controls/age.tsx";
import type { Parts } from "../parts.ts";
import { addressOf } from "../router.ts";

/** Without a touch: is anything wrong, and what is going on. */
export function Show({ store }: Parts) {
  const props = store.props.value;
  const wrong = props.flatMap(({ id, name }) => {
    const [why] = wrongWith(store.valuesOf(id));
    return why === undefined ? [] : [{ id, name, why }];
  });
  const busy = props.flatMap(({ id, name }) => {
    const state = store.valuesOf(id).get("state");
    const online = store.valuesOf(id).get("status/availability")?.text === "online";
    return state && online && state.text !== "idle" ? [{ id, name, state }] : [];
  });
  const online = props.filter(({ id }) => store.valuesOf(id).get("status/availability")?.text === "online").length;
  return (
    <div class="show">
      <h1>
        {online} of {props.length} online
      </h1>
      <h2>{wrong.length === 0 ? "Nothing is known to be wrong" : "Wrong"}</h2>
      <ul class="links">
        {wrong.map(({ id, name, why }) => (
          <li key={id} class="trouble">
            <a href={addressOf(id)}>
              {name}: {why}
            </a>
          </li>
        ))}
      </ul>
      {busy.length > 0 && <h2>Not idle</h2>}
      <ul class="links">
        {busy.map(({ id, name, state }) => (
          <li key={id}>
            <a href={addressOf(id)}>
              {name} <strong>{state.text}</strong> <Age said={state} store={store} />
            </a>
          </li>
        ))}
      </ul>
    </div>
  );
}
