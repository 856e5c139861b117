// Package metrics counts what the server does, for Prometheus.
//
// A DNS counts queries and connections. Each goroutine that answers queries
// owns a Shard of it, in which counting is a few plain additions; Flush makes
// them visible, once per batch. A Forward counts forwarded names and what their
// upstreams do, an API counts requests to the control API. What other packages
// count already, such as the size of the registry, Figures reads at scrape time.
//
// Every metric is listed in metrics.go. Names are those that operators of CoreDNS
// know, with the prefix internaldns_. Every label takes its values from a
// closed set (labels.go) or from the settings (upstreams): no name, app, network
// or client is ever a label.
//
// Package metrics logs nothing, starts no goroutines, and reads the clock at
// scrape time only.
package metrics
