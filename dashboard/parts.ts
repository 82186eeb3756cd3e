import type { Link } from "./link.ts";
import type { Router } from "./router.ts";
import type { Store } from "./store.ts";

/** What each screen is handed. */
export interface Parts {
  store: Store;
  link: Link;
  router: Router;
}
