// Loaded into the Firebase suite by local/suite.py. Node keeps an idle connection to a function for five seconds, and
// so does the function's server. An event that is sent in the moment in which the server closes it ends in "socket
// hang up", and the suite delivers no event twice.
require("node:http").globalAgent.keepAlive = false;
