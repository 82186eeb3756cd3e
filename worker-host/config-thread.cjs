// The thread that parses and edits long configs: see host/config/config-thread.ts.
"use strict";
require("./load.cjs").load("cli").configThread();
