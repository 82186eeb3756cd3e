// The process that runs workers: see worker/runner.ts.
"use strict";
require("./load.cjs").load("worker").runner();
