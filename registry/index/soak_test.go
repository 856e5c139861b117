package index

import "flag"

var soak = flag.Int("index.soak", 1, "how many times as many random draws as usual")
