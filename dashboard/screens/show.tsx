import { availabilityOf, WARNING } from "../../worker-host/contract/prop.ts";
import { Age } from "../controls/age.tsx";
import type { Parts } from "../parts.ts";
import { addressOf } from "../router.ts";

/** Without a touch: is anything wrong, and what is going on. */
export function Show({ store }: Parts) {
  const props = store.props.value;
  const isHost = (id: string) => store.portraitOf(id).isHost;
  const hosts = store.ids.value.filter(isHost).map((id) => ({ id, name: id }));
  const wrong = [...props, ...hosts]
    .flatMap(({ id, name }) => store.faultsOf(id).map((fault) => ({ id, name, fault })))
    // What a host warns of is most often said of a prop too.
    .filter(({ id, fault }) => !isHost(id) || fault.rank < WARNING)
    .sort((a, b) => a.fault.rank - b.fault.rank);
  const online = props.filter(({ id }) => availabilityOf(store.valuesOf(id))?.online);
  const active = online.flatMap(({ id, name }) => {
    const state = store.valuesOf(id).get("state");
    return state && state.text !== store.portraitOf(id).rest ? [{ id, name, state }] : [];
  });
  return (
    <div class="show">
      <h1>
        {online.length} of {props.length} online
      </h1>
      <h2>{wrong.length === 0 ? "Nothing is known to be wrong" : "Wrong"}</h2>
      <ul class="links">
        {wrong.map(({ id, name, fault: { why, said } }) => (
          <li key={`${id} ${why}`} class="trouble">
            <a href={addressOf(id)}>
              <span>
                {name}: {why} {said && <Age said={said} store={store} />}
              </span>
            </a>
          </li>
        ))}
      </ul>
      {active.length > 0 && <h2>Not at rest</h2>}
      <ul class="links">
        {active.map(({ id, name, state }) => (
          <li key={id}>
            <a href={addressOf(id)}>
              <span>
                {name} <strong>{state.text}</strong> <Age said={state} store={store} />
              </span>
            </a>
          </li>
        ))}
      </ul>
    </div>
  );
}
