// Apart from bin.cjs, since a Node that is too old can't even read this.
"use strict";
void import("../dist/cli.js");
