package daemon

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"zonebuild/internal/build"
	"zonebuild/internal/cli"
	"zonebuild/internal/domain"
	"zonebuild/internal/watch"
)

// Bounds of the pages.
const (
	readWait  = 10 * time.Second // for a request
	writeWait = 30 * time.Second // for its reader
	maxHead   = 16 << 10         // octets of a request
	staleBeat = 30 * time.Second // without a turn of the loop the daemon is not healthy
)

// serve opens the pages: /metrics, /healthz and /status.json. They are read only.
func (d *Daemon) serve() (stop func(), err error) {
	if d.Listen == nil {
		return func() {}, nil
	}
	registry := prometheus.NewRegistry()
	if err := registry.Register(d.newMetrics()); err != nil {
		return nil, fmt.Errorf("register the metrics: %w", err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4}))
	mux.HandleFunc("GET /healthz", d.healthz)
	mux.HandleFunc("GET /status.json", d.statusPage)
	server := &http.Server{Handler: mux, ReadTimeout: readWait, WriteTimeout: writeWait, IdleTimeout: writeWait, MaxHeaderBytes: maxHead}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := server.Serve(d.Listen); err != nil && !errors.Is(err, http.ErrServerClosed) {
			d.Log.Error("serve the pages", "err", err)
		}
	}()
	return func() {
		server.Close()
		<-ended
	}, nil
}

// healthz says whether the loop turns, and whether anything is built at all: what is wrong with a zone is no reason to
// restart the daemon.
func (d *Daemon) healthz(w http.ResponseWriter, _ *http.Request) {
	d.mu.Lock()
	age := d.clock() - d.turned
	began := !d.beatAt.IsZero()
	d.mu.Unlock()
	if !began || age > staleBeat {
		http.Error(w, "the loop does not turn", http.StatusServiceUnavailable)
		return
	}
	for _, code := range []string{watch.AlarmPass, watch.AlarmBuild} {
		if message, stands := d.alarms.find(code); stands {
			http.Error(w, message, http.StatusServiceUnavailable)
			return
		}
	}
	fmt.Fprintln(w, "ok")
}

// statusDocument is /status.json.
type statusDocument struct {
	Version  string         `json:"version"`
	Started  time.Time      `json:"started"`
	Beat     time.Time      `json:"beat,omitzero"` // of the last turn of the loop
	Building bool           `json:"building"`
	Waiting  int            `json:"waiting"` // zones to be built at once
	NextDue  time.Time      `json:"next_due,omitzero"`
	Held     []string       `json:"held,omitempty"`  // checkouts in other hands
	Stuck    []string       `json:"stuck,omitempty"` // sources that do not answer
	Alarms   []Alarm        `json:"alarms,omitempty"`
	Refused  map[string]int `json:"fragments_refused,omitempty"` // by reason
	Zones    []zoneDocument `json:"zones"`
}

type zoneDocument struct {
	Zone      domain.Name   `json:"zone"`
	Action    string        `json:"action"`
	Serial    uint32        `json:"serial,omitempty"`
	Served    []servedBy    `json:"served,omitempty"`    // what each server said last
	Confirmed *bool         `json:"confirmed,omitempty"` // nil: there is nobody to ask
	Published time.Time     `json:"published,omitzero"`
	Good      time.Time     `json:"last_good_build,omitzero"`
	Due       time.Time     `json:"due,omitzero"`
	Oldest    time.Time     `json:"oldest_expiration,omitzero"`
	Alarms    []build.Alarm `json:"alarms,omitempty"`

	TLSA []build.TLSAAfter `json:"tlsa,omitempty"`
}

type servedBy struct {
	Server string `json:"server"`
	Serial uint32 `json:"serial,omitempty"`
	Up     bool   `json:"up"` // it answered
}

func (d *Daemon) statusPage(w http.ResponseWriter, _ *http.Request) {
	d.mu.Lock()
	s := d.lastBeat
	doc := statusDocument{
		Version: cli.Version(), Started: d.started.UTC(), Beat: d.beatAt.UTC(), Building: !s.Building.IsZero(), Waiting: s.Waiting,
		NextDue: s.NextDue.UTC(), Held: s.Held, Stuck: s.Stuck, Zones: []zoneDocument{},
	}
	d.mu.Unlock()
	doc.Alarms = d.alarms.standing()
	d.ledger.read(func(l *ledger) {
		doc.Refused = l.refused
		for _, n := range l.names() {
			doc.Zones = append(doc.Zones, l.facts(n).document(n, l.asked))
		}
	})
	b, err := json.MarshalIndent(doc, "", "  ")
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(append(b, '\n')) // a reader that is gone is none of our business
}

func (f *zoneFacts) document(n domain.Name, asked bool) zoneDocument {
	d := zoneDocument{
		Zone: n, Action: f.action, Serial: f.serial, Published: f.published, Good: f.good.UTC(),
		Due: f.due, Oldest: f.oldest, Alarms: f.alarms, TLSA: f.tlsa,
	}
	if asked {
		d.Confirmed = &f.confirmed
	}
	for _, a := range f.served {
		d.Served = append(d.Served, servedBy{a.server, a.serial, a.up})
	}
	return d
}

// read calls f with the ledger locked; what f keeps must not be changed later.
func (l *ledger) read(f func(*ledger)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f(l)
}

// metrics collects at the time of a scrape what the ledger knows.
type metrics struct {
	*Daemon
	desc map[string]*prometheus.Desc
}

// metricTable lists names, labels and meanings.
func metricTable() [][3]string {
	return [][3]string{
		{"heartbeat_timestamp_seconds", "", "When the loop last turned."},
		{"zones", "", "Zones that the daemon keeps."},
		{"zones_waiting", "", "Zones that are to be built at once."},
		{"sources_held", "", "Checkouts that are in other hands."},
		{"sources_stuck", "", "Sources that do not answer."},
		{"last_pass_timestamp_seconds", "", "When the last pass ended."},
		{"zone_last_good_build_timestamp_seconds", "zone", "When the zone was last built without a fault, a refusal or a failure."},
		{"zone_published_timestamp_seconds", "zone", "When the zone was last published."},
		{"zone_published_serial", "zone", "Serial of the published file."},
		{"zone_served_serial", "zone server", "Serial that a name server answered when it was last asked."},
		{"zone_served_up", "zone server", "Whether a name server answered when it was last asked."},
		{"zone_confirmed", "zone", "Whether the published serial was seen served; not where there is nobody to ask."},
		{"zone_signature_expiry_timestamp_seconds", "zone", "When the first signature of the zone expires."},
		{"zone_signature_due_timestamp_seconds", "zone", "When the first signature is to be made anew."},
		{"tlsa_state", "zone owner state", "1 for the state in which the TLSA rollover at an owner is."},
		{"tlsa_state_since_timestamp_seconds", "zone owner", "Since when it is in that state."},
		{"tlsa_ready_timestamp_seconds", "zone owner", "When the next key may be deployed, if nothing changes."},
		{"tlsa_next_step_timestamp_seconds", "zone owner", "When the next step is to be made, if nothing changes."},
		{"zone_alarm", "zone code", "1 for each alarm of a zone that stands."},
		{"alarm", "source code", "1 for each alarm of the daemon that stands."},
		{"fragments_refused", "reason", "Files of drop boxes that are left out now."},
		{"zone_builds_total", "action", "Zones built, by what became of them."},
		{"stage_seconds", "stage", "Time that a kind of work took."},
	}
}

func (d *Daemon) newMetrics() *metrics {
	m := &metrics{d, map[string]*prometheus.Desc{}}
	for _, row := range metricTable() {
		var labels []string
		for label := range strings.FieldsSeq(row[1]) {
			labels = append(labels, label)
		}
		m.desc[row[0]] = prometheus.NewDesc("zonebuild_"+row[0], row[2], labels, nil)
	}
	return m
}

// Describe sends what there can be.
func (m *metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, desc := range m.desc {
		ch <- desc
	}
}

// Collect sends what there is.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	gauge := func(name string, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(m.desc[name], prometheus.GaugeValue, v, labels...)
	}
	at := func(name string, t time.Time, labels ...string) {
		if !t.IsZero() {
			gauge(name, float64(t.UnixMilli())/1000, labels...)
		}
	}
	m.mu.Lock()
	beat, beatAt := m.lastBeat, m.beatAt
	m.mu.Unlock()
	at("heartbeat_timestamp_seconds", beatAt)
	gauge("zones", float64(beat.Zones))
	gauge("zones_waiting", float64(beat.Waiting))
	gauge("sources_held", float64(len(beat.Held)))
	gauge("sources_stuck", float64(len(beat.Stuck)))
	for _, a := range m.alarms.standing() {
		gauge("alarm", 1, strings.ToValidUTF8(a.Subject, "?"), a.Code)
	}
	m.ledger.read(func(l *ledger) {
		at("last_pass_timestamp_seconds", l.pass1)
		for code, n := range l.refused {
			gauge("fragments_refused", float64(n), code)
		}
		for action, n := range l.passes {
			ch <- prometheus.MustNewConstMetric(m.desc["zone_builds_total"], prometheus.CounterValue, float64(n), action)
		}
		for name, s := range l.stages {
			ch <- prometheus.MustNewConstSummary(m.desc["stage_seconds"], s.count, s.sum.Seconds(), nil, name)
		}
		for n := range l.zones {
			m.zone(n.String(), l.facts(n), l.asked, gauge, at)
		}
	})
}

func (m *metrics) zone(name string, f *zoneFacts, asked bool, gauge func(string, float64, ...string), at func(string, time.Time, ...string)) {
	at("zone_last_good_build_timestamp_seconds", f.good, name)
	at("zone_published_timestamp_seconds", f.published, name)
	at("zone_signature_expiry_timestamp_seconds", f.oldest, name)
	at("zone_signature_due_timestamp_seconds", f.due, name)
	if f.serial != 0 {
		gauge("zone_published_serial", float64(f.serial), name)
		if asked {
			gauge("zone_confirmed", truth(f.confirmed), name)
		}
	}
	for _, a := range f.served {
		server := strings.ToValidUTF8(a.server, "?")
		if gauge("zone_served_up", truth(a.up), name, server); a.up {
			gauge("zone_served_serial", float64(a.serial), name, server)
		}
	}
	for i := range f.tlsa {
		r := &f.tlsa[i]
		owner := r.Owner.String()
		gauge("tlsa_state", 1, name, owner, string(r.Phase))
		at("tlsa_state_since_timestamp_seconds", r.Since, name, owner)
		at("tlsa_ready_timestamp_seconds", r.ReadyAt, name, owner)
		at("tlsa_next_step_timestamp_seconds", r.Next, name, owner)
	}
	var codes []string
	for _, a := range f.alarms {
		codes = append(codes, a.Code)
	}
	slices.Sort(codes)
	for _, code := range slices.Compact(codes) {
		gauge("zone_alarm", 1, name, code)
	}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
