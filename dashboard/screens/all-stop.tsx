import { Age } from "../controls/age.tsx";
import { PressButton } from "../controls/press-button.tsx";
import type { Parts } from "../parts.ts";

/** All-stop is engaged, or may be: who has confirmed it, who has not, and what ends it. */
export function AllStop({ store, link }: Parts) {
  const engaged = store.allStop.value === true;
  const said = store.valuesOf(store.hostId).get("status/all_stop");
  const heard = engaged ? store.heard.value : undefined;
  const slowest = Math.max(0, ...(heard?.heard ?? []).map(({ ms }) => ms));
  return (
    <div class="all-stop" data-engaged={engaged}>
      <h1>{engaged ? "ALL STOP" : "Not known whether all-stop is engaged"}</h1>
      {/* Above all that may change its height: it must not move under a finger. */}
      <PressButton
        label="All clear"
        about="Every prop takes commands again. Nothing starts by itself."
        holdMs={2000}
        why={store.situation.value.blocked}
        fire={(pressedAt) => link.act("all_clear", {}, pressedAt)}
      />
      {engaged && <p>engaged {said?.text === "engaged" && <Age said={said} store={store} />}</p>}
      {!engaged && <p>The host does not say it. Until it does, only stop and what is safe can be pressed.</p>}
      {engaged && !heard && <p class="big">not known yet who has heard it</p>}
      {heard && heard.not_heard.length > 0 && (
        <section class="trouble">
          <h2>Not heard: go and look</h2>
          <ul>
            {heard.not_heard.map(({ id, why }) => (
              <li key={id}>
                {id}
                {why !== undefined && `: ${why}`}
              </li>
            ))}
          </ul>
        </section>
      )}
      {heard && heard.not_held.length > 0 && (
        <section class="trouble">
          <h2>Can't be held: look at them</h2>
          <ul>
            {heard.not_held.map(({ id, why }) => (
              <li key={id}>
                {id}: {why}
              </li>
            ))}
          </ul>
        </section>
      )}
      {heard && (
        <p class="big">
          {heard.heard.length} confirmed in {slowest} ms
        </p>
      )}
      {heard && (
        <ul class="heard">
          {heard.heard.map(({ id, ms }) => (
            <li key={id}>
              {id} <span class="age">{ms} ms</span>
            </li>
          ))}
          {heard.left_out !== undefined && <li>and {heard.left_out} more</li>}
        </ul>
      )}
    </div>
  );
}
