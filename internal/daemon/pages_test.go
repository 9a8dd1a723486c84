package daemon

import (
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"zonebuild/internal/domain"
	"zonebuild/internal/lab"
	"zonebuild/internal/publish"
	"zonebuild/tlsa"
)

// get reads a page.
func get(t *testing.T, l net.Listener, path string) (int, string) {
	t.Helper()
	r, err := http.Get("http://" + l.Addr().String() + path)
	if err != nil {
		return 0, err.Error()
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, string(b)
}

// value is that of a metric, "" if there is none.
func value(text, metric string) string {
	for line := range strings.Lines(text) {
		if v, ok := strings.CutPrefix(line, metric+" "); ok {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

func TestPages(t *testing.T) {
	s := newSite(t, true)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.listen = l
	s.start()
	s.drop("", "too short")
	s.until("the zone is confirmed", func() bool { return s.status().Confirmed })
	const zone = `{zone="example.org."}`
	text := ""
	s.until("the metrics", func() bool {
		_, text = get(t, l, "/metrics")
		return value(text, "zonebuild_zone_confirmed"+zone) == "1" && value(text, `zonebuild_fragments_refused{reason="box-content"}`) == "1"
	})
	oldest, err := strconv.ParseFloat(value(text, "zonebuild_zone_signature_expiry_timestamp_seconds"+zone), 64)
	if want := s.status().Oldest; err != nil || int64(oldest) != want.Unix() {
		t.Errorf("the first expiration is %f (%v), want %d", oldest, err, want.Unix())
	}
	for _, name := range []string{"pass", "parse", "compile", "sign", "verify", "write", "check", "reload", "confirm"} {
		took, err := strconv.ParseFloat(value(text, `zonebuild_stage_seconds_sum{stage="`+name+`"}`), 64)
		if n := value(text, `zonebuild_stage_seconds_count{stage="`+name+`"}`); n == "" || n == "0" || err != nil || took <= 0 {
			t.Errorf("stage %s: %q times, %f s (%v)", name, n, took, err)
		}
	}
	of := `{server="` + s.nsd.Addr() + `",zone="example.org."}`
	if serial, err := strconv.ParseFloat(value(text, "zonebuild_zone_served_serial"+of), 64); err != nil || uint32(serial) != s.status().Serial || value(text, "zonebuild_zone_served_up"+of) != "1" {
		t.Errorf("served: %f (%v), want %d", serial, err, s.status().Serial)
	}
	if at, err := strconv.ParseFloat(value(text, "zonebuild_zone_last_good_build_timestamp_seconds"+zone), 64); err != nil || time.Since(time.Unix(int64(at), 0)) > time.Minute {
		t.Errorf("last good build: %f (%v)", at, err)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	if _, err := parser.TextToMetricFamilies(strings.NewReader(text)); err != nil {
		t.Errorf("the metrics cannot be parsed: %v", err)
	}
	if code, text := get(t, l, "/healthz"); code != 200 || text != "ok\n" {
		t.Errorf("healthz: %d %s", code, text)
	}

	s.write("primary/example.org", "broken\n")
	s.until("the alarm", func() bool {
		_, text := get(t, l, "/metrics")
		return value(text, `zonebuild_zone_alarm{code="input-rejected",zone="example.org."}`) == "1"
	})
	var doc statusDocument
	if _, text := get(t, l, "/status.json"); json.Unmarshal([]byte(text), &doc) != nil || len(doc.Zones) != 1 ||
		doc.Zones[0].Confirmed == nil || !*doc.Zones[0].Confirmed || doc.Zones[0].Alarms[0].Code != "input-rejected" || doc.Zones[0].Serial != s.status().Serial {
		t.Errorf("status.json: %s", text)
	}
	r, err := http.Post("http://"+l.Addr().String()+"/status.json", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	if r.Body.Close(); r.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("POST: %s", r.Status)
	}
	s.stop()
	if code, text := get(t, l, "/healthz"); code != 0 {
		t.Errorf("the pages outlive the daemon: %d %s", code, text)
	}
}

// TestServedBy: each server has its own serial; one that is silent has none.
func TestServedBy(t *testing.T) {
	s := newSite(t, true)
	config := readFile(t, s.path("zonebuild.toml"))
	none := net.JoinHostPort("127.0.0.1", strconv.Itoa(lab.FreePort(t)))
	s.write("zonebuild.toml", strings.Replace(config, `address = ["`, `address = ["`+none+`", "`, 1))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.listen = l
	s.start()
	s.until("a pass", func() bool { return strings.Contains(s.said(), "confirm serial") })
	s.d.mu.Lock()
	site := s.d.site
	s.d.mu.Unlock()
	apex := domain.MustParse("example.org")
	if _, err := site.ask(t.Context(), apex); !errors.Is(err, publish.ErrUnreachable) {
		t.Errorf("one of two servers is silent: %v", err)
	}
	_, text := get(t, l, "/metrics")
	for metric, want := range map[string]bool{
		`zonebuild_zone_served_up{server="` + s.nsd.Addr() + `",zone="example.org."} 1`:    true,
		`zonebuild_zone_served_serial{server="` + s.nsd.Addr() + `",zone="example.org."} `: true,
		`zonebuild_zone_served_up{server="` + none + `",zone="example.org."} 0`:            true,
		`zonebuild_zone_served_serial{server="` + none + `"`:                               false,
	} {
		if strings.Contains(text, metric) != want {
			t.Errorf("%s: %v", metric, !want)
		}
	}
}

// TestTLSAPages: the rollovers, and when they are moved on.
func TestTLSAPages(t *testing.T) {
	s, _ := mailSite(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.listen = l
	s.start()
	const owner = `owner="_25._tcp.mail.example.org.",`
	text := ""
	s.until("the rollover is seen", func() bool {
		_, text = get(t, l, "/metrics")
		return value(text, `zonebuild_tlsa_state{`+owner+`state="new",zone="example.org."}`) == "1"
	})
	for _, metric := range []string{"state_since", "next_step"} {
		at, err := strconv.ParseFloat(value(text, `zonebuild_tlsa_`+metric+`_timestamp_seconds{`+owner+`zone="example.org."}`), 64)
		if d := time.Until(time.Unix(int64(at), 0)); err != nil || d.Abs() > 10*time.Minute {
			t.Errorf("%s: %f (%v)", metric, at, err)
		}
	}
	var doc statusDocument
	if _, text := get(t, l, "/status.json"); json.Unmarshal([]byte(text), &doc) != nil || len(doc.Zones) != 2 || len(doc.Zones[1].TLSA) != 1 ||
		doc.Zones[1].TLSA[0].Phase != tlsa.PhaseNew || doc.Zones[1].TLSA[0].Next.IsZero() {
		t.Errorf("status.json: %s", text)
	}
}

// TestHealthStale: a loop that does not turn is not healthy, whatever the calendar
// says.
func TestHealthStale(t *testing.T) {
	begun := time.Unix(1000000, 0)
	var running time.Duration
	d := &Daemon{Now: func() time.Time { return begun.Add(-time.Hour) }, beatAt: begun, turned: time.Minute}
	d.clock = func() time.Duration { return running }
	for _, tt := range []struct {
		after time.Duration
		want  int
	}{{0, 200}, {time.Second, 503}} {
		running = d.turned + staleBeat + tt.after
		w := &answer{header: http.Header{}}
		if d.healthz(w, nil); w.code != tt.want && (w.code != 0 || tt.want != 200) {
			t.Errorf("%s after: %d", tt.after, w.code)
		}
	}
}

type answer struct {
	header http.Header
	code   int
}

func (a *answer) Header() http.Header         { return a.header }
func (a *answer) Write(b []byte) (int, error) { return len(b), nil }
func (a *answer) WriteHeader(code int)        { a.code = code }

// TestNotify: what systemd is told, in order.
func TestNotify(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	env := map[string]string{"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": strconv.Itoa(os.Getpid())}
	getenv := func(k string) string { return env[k] }
	s := newSite(t, false)
	s.notify = NewNotify(getenv, os.Getpid(), slog.New(slog.DiscardHandler))
	s.start()
	told := func(want string) {
		t.Helper()
		if err := c.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 4096)
		for {
			n, err := c.Read(b)
			if err != nil {
				t.Fatalf("never told %q: %v", want, err)
			}
			if strings.Contains(string(b[:n]), want) {
				return
			}
		}
	}
	told("READY=1\nSTATUS=1 zones")
	told("WATCHDOG=1")
	told("STATUS=1 zones, building")
	s.until("the zone is published", s.published("www"))
	go s.end()
	told("STOPPING=1")
	s.stop()

	for _, tt := range []struct{ key, value string }{{"WATCHDOG_PID", "1"}, {"WATCHDOG_USEC", ""}} {
		env = map[string]string{"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "30000000"}
		env[tt.key] = tt.value
		if NewNotify(getenv, os.Getpid(), nil).watchdog {
			t.Errorf("%s=%s: a watchdog that is not meant", tt.key, tt.value)
		}
	}
	env = nil
	if NewNotify(getenv, 1, nil) != nil {
		t.Error("a supervisor that is not there")
	}
}
