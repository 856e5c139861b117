package metrics

import "github.com/prometheus/client_golang/prometheus"

// To add a metric:
//
//  1. Name it here, with a suffix for its unit (_seconds, _bytes; _total for
//     what only rises) and a help text that says what one more of it means.
//  2. Give its labels closed sets of values, in labels.go or in the package that counts it.
//  3. Count it: in a Shard if it happens once per query, in a DNS if it happens
//     once per connection, in a Forward or an API if it happens there, in Figures
//     if another package counts it already.
//  4. Send it in the Collect method of that type (an API's metrics need no step).
//  5. Run go test ./metrics -update, and read the change in testdata/metrics.txt
//     as an operator will.

// Queries and their responses: a Shard counts them.
var (
	dnsRequests = counter("dns_requests_total",
		"Queries that were responded to, by transport (udp, tcp), address family (1: IPv4, 2: IPv6) and QTYPE.",
		"proto", "family", "type")
	dnsResponses = counter("dns_responses_total",
		"Responses sent, by RCODE.",
		"rcode")
	dnsDuration = histogram("dns_request_duration_seconds",
		"Time from reading a query to having its response sent. Queries read in one batch count as long as their batch took.",
		"proto")
	dnsRequestSize = histogram("dns_request_size_bytes",
		"Octets per query, without TCP's length field.",
		"proto")
	dnsResponseSize = histogram("dns_response_size_bytes",
		"Octets per response, without TCP's length field.",
		"proto")
	dnsTruncated = counter("dns_responses_truncated_total",
		"Responses that lack records because they did not fit: over UDP, those with TC set; over TCP, those cut to 65,535 octets.",
		"proto")
	dnsDropped = counter("dns_dropped_total",
		"Messages that got no response, by reason.",
		"proto", "reason")
)

// TCP connections: a DNS counts them.
var (
	tcpOpen = gauge("tcp_connections_open",
		"TCP connections that are open now.")
	tcpAccepted = counter("tcp_connections_total",
		"TCP connections accepted.")
	tcpClosed = counter("tcp_connections_closed_total",
		"TCP connections closed, by reason.",
		"reason")
)

// The facts and their source, from Figures.
var (
	registryIndex = gauge("registry_index",
		"Number of the commit that answers are made from. It starts again when the server does, unless the facts are stored (--data, --etcd).")
	registryObjects = gauge("registry_objects",
		"Objects in the registry, by kind.",
		"kind")
	registryMachines = gauge("registry_machines",
		"Machines in the registry, by state. A state that this version does not know is counted as unknown.",
		"state")
	zoneUnformed = gauge("zone_unformed_names",
		"Process groups and metadata entries of machines that give no name because none can be formed (a label empty or over 63 octets, a name over 255).")
	sourceAge = gauge("source_age_seconds",
		"Time since the source of facts was last found to say what answers are made from. It grows while the source is missing or at fault.")
	sourceReads = counter("source_reloads_total",
		"Times that the source of facts was read and applied, the first time included.")
	sourceFailures = counter("source_reload_failures_total",
		"Times that the source of facts could not be read or was at fault, so that the facts before it stayed.")
)

// Changes of the facts, and certificates, from Figures.
var (
	keepWrites = counter("store_writes_total",
		"Changes of the facts that were made durable through this server, also those that changed nothing.")
	keepFailures = counter("store_write_failures_total",
		"Changes that were refused because the disk, or etcd, failed, was full, or was away.")
	keepAvailable = gauge("store_available",
		"1 if changes can be made, else 0. Answers go on in any case.")
	keepLeases = gauge("store_leases",
		"Machines that have a lease, on this server's disk.")
	keepQuarantined = gauge("store_quarantined_keys",
		"Keys in etcd that are not in effect because something is wrong with them; /status names them.")

	certExpiry = gauge("certificate_expiry_timestamp_seconds",
		"When the certificate that is presented expires, in seconds since 1970, by the setting that names its file (api_cert, etcd_cert).",
		"setting")
	certFailures = counter("certificate_reload_failures_total",
		"Times that the files of a certificate or its key could not be read or were at fault, so that the one before stayed.",
		"setting")
)

// Requests to the control API: an API counts them.
var (
	apiRequests = counter("api_requests_total",
		"Requests to the control API that were answered, by route and status code. The route none is for all that no route takes.",
		"route", "code")
	apiDuration = histogram("api_request_duration_seconds",
		"Time from having read a request's header to having answered it. Waits and streams of changes are not short.",
		"route")
	apiInFlight = gauge("api_requests_in_flight",
		"Requests to the control API that are being answered now.")
	apiWaiting = gauge("api_requests_waiting",
		"Requests to the control API that wait for changes now.")
)

// Forwarded names and their upstreams: a Forward counts them. The label to is an
// upstream as the settings name it.
var (
	forwardRequests = counter("forward_requests_total",
		"Queries sent to upstreams, probes included, by transport (udp, tcp, tls).",
		"to", "proto")
	forwardResponses = counter("forward_responses_total",
		"Responses of upstreams that were accepted, by RCODE.",
		"to", "rcode")
	forwardDuration = histogram("forward_request_duration_seconds",
		"Time from sending a query to an upstream to its response.",
		"to")
	forwardMismatches = counter("forward_mismatches_total",
		"Messages from the address of an upstream that were not the response to a query, by what was wrong: strays, or attempts at spoofing.",
		"to", "reason")
	forwardTimeouts = counter("forward_timeouts_total",
		"Queries to upstreams that were not answered in their time.",
		"to")
	forwardErrors = counter("forward_errors_total",
		"Queries to upstreams that could not be sent, or whose stream broke.",
		"to")
	forwardHedges = counter("forward_hedges_total",
		"Queries sent to an upstream because another took long.",
		"to")
	forwardProbes = counter("forward_healthcheck_probes_total",
		"Queries sent to an upstream in trouble to see whether it is back.",
		"to")
	forwardHealthy = gauge("forward_healthy",
		"1 if the upstream answers, else 0.",
		"to")
	forwardRefused = counter("forward_refused_total",
		"Queries for forwarded names that were refused, by reason.",
		"reason")
	forwardLocal = counter("forward_kept_home_total",
		"Queries answered here because no upstream may be asked (localhost, reverse names of private addresses and the like).")
	forwardJoined = counter("forward_joined_total",
		"Cache misses whose question was already being asked.")
	forwardFailed = counter("forward_failures_total",
		"Questions that no upstream answered, so that clients got SERVFAIL or what the cache had.")
	forwardTruncated = counter("forward_responses_truncated_total",
		"Responses about forwarded names that lack records because they did not fit.")
	forwardWaiting = gauge("forward_queries_waiting",
		"Queries that wait for upstreams now.")
	forwardQuestions = gauge("forward_questions_open",
		"Questions that upstreams are being asked now.")

	cacheHits = counter("cache_hits_total",
		"Queries answered from the cache: with data (success), NODATA or NXDOMAIN (denial), or SERVFAIL because upstreams had just failed (failure).",
		"type")
	cacheMisses = counter("cache_misses_total",
		"Queries that upstreams had to be asked for.")
	cacheStale = counter("cache_served_stale_total",
		"Queries answered with what was out of date, because upstreams took long or failed.")
	cachePrefetches = counter("cache_prefetch_total",
		"Answers fetched anew before they went out of date, because many asked for them.")
	cacheEvictions = counter("cache_evictions_total",
		"Answers dropped from the cache to make room.")
	cacheEntries = gauge("cache_entries",
		"Answers in the cache.")
	cacheSize = gauge("cache_size_bytes",
		"Octets that the cache takes, overhead included.")
)

// The program.
var buildInfo = gauge("build_info",
	"Always 1; the labels say which version runs.",
	"version", "revision", "goversion")

// namespace begins the name of every metric of this program.
const namespace = "internaldns"

// A metric is one entry of the list above.
type metric struct {
	opts   prometheus.Opts
	labels []string
	desc   *prometheus.Desc
	kind   prometheus.ValueType // of histograms: not used
}

func counter(name, help string, labels ...string) metric {
	return newMetric(prometheus.CounterValue, name, help, labels)
}

func gauge(name, help string, labels ...string) metric {
	return newMetric(prometheus.GaugeValue, name, help, labels)
}

func histogram(name, help string, labels ...string) metric {
	return newMetric(prometheus.UntypedValue, name, help, labels)
}

func newMetric(kind prometheus.ValueType, name, help string, labels []string) metric {
	return metric{
		opts: prometheus.Opts{Namespace: namespace, Name: name, Help: help}, labels: labels,
		desc: prometheus.NewDesc(namespace+"_"+name, help, labels, nil), kind: kind,
	}
}

// unchecked makes a type that embeds it a prometheus.Collector that describes no
// metrics in advance: the list above does.
type unchecked struct{}

// Describe implements prometheus.Collector.
func (unchecked) Describe(chan<- *prometheus.Desc) {}

// send sends one value of m to a scrape.
func (m metric) send(ch chan<- prometheus.Metric, value float64, labels ...string) {
	ch <- prometheus.MustNewConstMetric(m.desc, m.kind, value, labels...)
}

// sendBuckets sends one histogram to a scrape. counts holds the observations in
// each bucket; bound returns the upper bound of bucket i, inclusive, and the
// last bucket has none.
func (m metric) sendBuckets(ch chan<- prometheus.Metric, counts []uint64, sum float64, bound func(i int) float64, labels ...string) {
	buckets := make(map[float64]uint64, len(counts))
	total := uint64(0)
	for i, n := range counts {
		total += n
		if i < len(counts)-1 {
			buckets[bound(i)] = total
		}
	}
	ch <- prometheus.MustNewConstHistogram(m.desc, total, sum, buckets, labels...)
}

// oneIf returns 1 if b, else 0.
func oneIf(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
