package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"zonebuild/internal/lab"
)

// TestMain lets the test's binary be the child that bench runs of itself.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "-child" {
		main()
		return
	}
	os.Exit(m.Run())
}

func testRoom(t *testing.T) *room {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return &room{dir: t.TempDir(), self: self, cores: 2}
}

// TestRun measures programs whose cost is known: what they say, what they hold,
// and how they fail.
func TestRun(t *testing.T) {
	r := testRoom(t)
	got, err := r.run(t.Context(), "sh", "-c", "echo out; echo err >&2; sleep 0.1")
	if err != nil || got.said != "out\nerr\n" || got.seconds < 0.1 || got.peak == 0 {
		t.Errorf("run: %+v, %v", got, err)
	}
	small := got.peak
	const size = 50_000_000
	got, err = r.run(t.Context(), "sh", "-c", "x=$(head -c 50000000 /dev/zero | tr '\\0' a); echo ${#x}")
	if err != nil || got.said != "50000000\n" || got.peak < small+size*9/10 {
		t.Errorf("a string of %d bytes: %+v, %v (the shell: %d)", size, got, err, small)
	}
	_, err = r.run(t.Context(), "sh", "-c", "echo why; exit 3")
	if want := "run sh -c echo why; exit 3: exit status 3: why"; err == nil || err.Error() != want {
		t.Errorf("error %q, want %q", err, want)
	}
	if _, err := r.run(t.Context(), filepath.Join(r.dir, "absent")); err == nil {
		t.Error("a program that is not there was run")
	}
}

// TestPeakIsNotInherited: a small child of a large process counts as small.
func TestPeakIsNotInherited(t *testing.T) {
	large := make([]byte, 100_000_000)
	for i := range large {
		large[i] = 1
	}
	got, err := testRoom(t).run(t.Context(), "true")
	if err != nil || got.peak > int64(len(large))/2 {
		t.Errorf("peak %d of a program that does nothing, %v", got.peak, err)
	}
	if now := peakNow(os.Getpid()); now != 0 && now < int64(len(large)) {
		t.Errorf("peak %d of a process that holds %d", now, len(large))
	}
	large[0]++
}

// TestInterrupt: when the context ends, so does the program, and its children.
func TestInterrupt(t *testing.T) {
	r := testRoom(t)
	ctx, cancel := context.WithCancel(t.Context())
	pidFile := r.path("pid")
	done := make(chan error, 1)
	go func() {
		_, err := r.run(ctx, "sh", "-c", "sleep 1000 & echo $! >"+pidFile+".new; mv "+pidFile+".new "+pidFile+"; wait")
		done <- err
	}()
	pid := awaitPid(t, pidFile)
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	awaitGone(t, pid)
}

// TestLeash: a program ends when the bench that started it is gone.
func TestLeash(t *testing.T) {
	r := testRoom(t)
	pidFile := r.path("pid")
	l, err := r.launch(t.Context(), r.path("said"), "sh", "-c", "echo $$ >"+pidFile+".new; mv "+pidFile+".new "+pidFile+"; exec sleep 1000")
	if err != nil {
		t.Fatal(err)
	}
	pid := awaitPid(t, pidFile)
	got, err := l.stop()
	if err != nil || got.peak == 0 {
		t.Errorf("stopped: %+v, %v", got, err)
	}
	awaitGone(t, pid)
}

// TestInterruptedCall: a call that is interrupted in the midst of a run leaves no
// process and no file.
func TestInterruptedCall(t *testing.T) {
	dir, pidFile := t.TempDir(), filepath.Join(t.TempDir(), "pid")
	t.Setenv("TMPDIR", dir)
	hangs := filepath.Join(t.TempDir(), "zonebuild")
	script := "#!/bin/sh\necho $$ >" + pidFile + ".new\nmv " + pidFile + ".new " + pidFile + "\nsleep 1000\n"
	if err := os.WriteFile(hangs, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- run(ctx, []string{"-n", "10", "-only", "host", hangs}, nil, io.Discard, io.Discard) }()
	pid := awaitPid(t, pidFile)
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	awaitGone(t, pid)
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func awaitPid(t *testing.T, path string) (pid int) {
	t.Helper()
	until(t, func() bool {
		b, err := os.ReadFile(path)
		return err == nil && json.Unmarshal(b, &pid) == nil
	})
	return pid
}

func awaitGone(t *testing.T, pid int) {
	t.Helper()
	until(t, func() bool {
		if state, err := os.ReadFile("/proc/" + number(pid) + "/stat"); err == nil && strings.Contains(string(state), ") Z ") {
			return true // dead; nobody has asked for its status yet
		}
		return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH)
	})
}

func number(n int) string { return strings.ReplaceAll(group(n), ",", "") }

func until(t *testing.T, ok func() bool) {
	t.Helper()
	lab.Until(t, "wait", func() error {
		if !ok() {
			return errors.New("it does not come about")
		}
		return nil
	})
}

func TestChoose(t *testing.T) {
	chosen, err := choose("tld, many")
	if err != nil || len(chosen) != 2 || chosen[0].name != "tld" || chosen[1].name != "many" {
		t.Errorf("%v, %v", chosen, err)
	}
	if _, err := choose("host,hots"); err == nil || err.Error() != `no section "hots": there are host, tld, again, many, verify, size, watch` {
		t.Errorf("error %v", err)
	}
	if sizes, err := numbers("10000, 1000000"); err != nil || !slices.Equal(sizes, []int{10000, 1000000}) {
		t.Errorf("%v, %v", sizes, err)
	}
	if _, err := numbers("10k"); err == nil || err.Error() != `read -sizes: "10k" is no number of hosts` {
		t.Errorf("error %v", err)
	}
}

// TestCompete: the runs are interleaved, each round begins with another
// entrant, and an entrant that fails ends it.
func TestCompete(t *testing.T) {
	b := &bench{room: testRoom(t), brief: true}
	order, cleaned := "", 0
	one := func(name string) entrant {
		return entrant{
			name: name, role: peer,
			run:   func(context.Context) (took, error) { order += name; return took{seconds: float64(len(order))}, nil },
			check: func(took) (int, error) { return 7, nil },
			clean: func() error { cleaned++; return nil },
		}
	}
	if err := b.compete(t.Context(), "s", 3, []entrant{one("a"), one("b"), one("c")}); err != nil {
		t.Fatal(err)
	}
	if order != "abcbcacab" || cleaned != 9 {
		t.Errorf("order %s, cleaned %d times", order, cleaned)
	}
	if got := b.rows[1]; got.Name != "b" || !slices.Equal(got.Seconds, []float64{2, 4, 9}) || got.Signatures != 7 {
		t.Errorf("row %+v", got)
	}
	bad := one("d")
	bad.check = func(took) (int, error) { return 0, errors.New("another number of signatures") }
	if err := b.compete(t.Context(), "s", 1, []entrant{bad}); err == nil || err.Error() != "s: d: another number of signatures" {
		t.Errorf("error %v", err)
	}
}

func TestMedianAndSpread(t *testing.T) {
	for _, tt := range []struct {
		xs             []float64
		median, spread float64
	}{
		{nil, math.NaN(), math.NaN()},
		{[]float64{3}, 3, 0},
		{[]float64{4, 2}, 3, 2. / 3},
		{[]float64{9, 1, 2}, 2, 4},
		{[]float64{4, 1, 3, 2}, 2.5, 1.2},
	} {
		same := func(a, b float64) bool { return a == b || math.IsNaN(a) && math.IsNaN(b) }
		if m, s := median(tt.xs), spread(tt.xs); !same(m, tt.median) || !same(s, tt.spread) {
			t.Errorf("%v: median %v, spread %v", tt.xs, m, s)
		}
	}
	if m := median([]int64{5, 1, 3}); m != 3 {
		t.Errorf("median of integers %v", m)
	}
}

func TestGroup(t *testing.T) {
	for n, want := range map[int]string{0: "0", 999: "999", 1000: "1,000", 300010: "300,010", 1234567: "1,234,567"} {
		if got := group(n); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
}

func TestRate(t *testing.T) {
	for _, tt := range []struct {
		n       int
		seconds float64
		want    string
	}{{300_010, 6.5, "46,000"}, {10, 0.1, "100"}, {99_999, 1, "100,000"}, {7, 2, "3.5"}, {7, math.NaN(), "-"}, {7, 0, "-"}} {
		if got := rate(tt.n, tt.seconds); got != tt.want {
			t.Errorf("%d in %v s: %q, want %q", tt.n, tt.seconds, got, tt.want)
		}
	}
}

// example is a result with round numbers.
func example() *results {
	mb := func(n int64) []int64 { return []int64{n * 1e6} }
	return &results{
		CPU: "a processor", Cores: 2, Load: 0.25, Go: "go1", N: 1000, Runs: 3, Sizes: []int{1000, 10000}, Missing: []string{"kzonesign"},
		Versions: map[string]string{"ldns-signzone": "version 2", "dnssec-signzone": "version 1"},
		Sections: []section{{"host", "sign"}, {"again", "one TXT"}, {"size", "per record"}},
		Rows: []row{
			{"host", "floor", floor, []float64{6}, []float64{11.9}, nil, 3010},
			{"host", "zonebuild", ours, []float64{6, 9, 7.5}, nil, mb(70), 3010},
			{"host", nameAll, verifier, []float64{12}, nil, mb(71), 3010},
			{"host", "ldns-signzone", peer, []float64{20}, nil, mb(140), 3010},
			{"host", "dnssec-signzone -P", peer, []float64{15}, nil, mb(200), 3011},
			{"host", "dnssec-signzone", verifier, []float64{40}, nil, mb(300), 3011},
			{"again", nameCold, ours, []float64{0.9}, nil, mb(50), 4},
			{"again", nameHeld, ours, []float64{0.2}, nil, mb(60), 4},
			{"again", "knotd", peer, []float64{0.4}, nil, nil, 0},
			{"size", "0 hosts", ours, []float64{0.5}, nil, mb(10), 10},
			{"size", "1,000 hosts", ours, []float64{0.7}, nil, mb(11), 3010},
			{"size", "10,000 hosts", ours, []float64{2.9}, nil, mb(21), 30010},
		},
	}
}

func TestTable(t *testing.T) {
	r := example()
	r.Bars = r.judge()
	want, err := os.ReadFile("testdata/table.txt")
	if err != nil {
		t.Fatal(err)
	}
	if got := r.table(); got != string(want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	lines := "host    zonebuild: 7.50 s, the fastest peer 15.00 s\nagain   zonebuild, held: 0.20 s, the fastest peer 0.40 s\nsize    10,000 hosts: 2.90 s\nnot installed: kzonesign\n"
	if got := r.lines(); got != lines {
		t.Errorf("got\n%s\nwant\n%s", got, lines)
	}
	if _, err := json.Marshal(r); err != nil { // no NaN
		t.Error(err)
	}
}

func TestCountSignatures(t *testing.T) {
	for name, tt := range map[string]struct {
		text string
		want int
	}{
		"ours":  {"; zonebuild 1 input=\na.\t1\tIN\tA\t192.0.2.1\na.\t1\tIN\tRRSIG\tA 13 1 1 2 1 3 a. AAAA\na.\t1\tIN\tNSEC\ta. A RRSIG NSEC\na.\t1\tIN\tRRSIG\tNSEC 13 1 1 2 1 3 a. AAAA", 2},
		"knot":  {"a.             \t1\tA\t192.0.2.1\na.             \t1\tRRSIG\tA 13 1 1 2 1 3 a. AAAA\n;; DNSSEC NSEC chain\na.\t1\tNSEC\ta. A RRSIG NSEC\n", 1},
		"bind":  {"a.\t1\tIN SOA\tb. c. (\n\t\t\t1 ; serial\n\t\t\tRRSIG\n\t\t\t)\n\t\t\t1\tRRSIG\tSOA 13 1 1 (\n\t\t\t\t2026 1 a.\n\t\t\t\tAAAA )\n\t\t\t1\tNSEC\ta. A RRSIG NSEC\n\t\t\t1\tRRSIG\tNSEC 13 1 1 (\n\t\t\t\tA= )\nH.a. 1 IN NSEC3\t1 1 0 - (\n\t\t\t\tH\n\t\t\t\tNS DS RRSIG )\n", 2},
		"texts": {"a. 1 IN TXT \"(\" ; (\n\\(. 1 IN A 1\na. RRSIG A\n\n", 1},
		"long":  {"a. 1 IN TXT " + strings.Repeat("\"RRSIG\" ", 30_000) + "\na. 1 IN RRSIG TXT x\n", 1},
		"empty": {"", 0},
	} {
		path := filepath.Join(t.TempDir(), "zone")
		if err := create(path, func(w io.Writer) error { _, err := io.WriteString(w, tt.text); return err }); err != nil {
			t.Fatal(err)
		}
		if got, err := countSignatures(path); err != nil || got != tt.want {
			t.Errorf("%s: %d, %v, want %d", name, got, err, tt.want)
		}
		if _, err := between(path, tt.want+1, tt.want+2)(took{}); err == nil {
			t.Errorf("%s: too few signatures pass", name)
		}
	}
}

func TestMadeFew(t *testing.T) {
	for said, want := range map[string]string{
		"zonebuild: a.: published with serial 1: the records changed; 4 signatures made, 9 kept":  "",
		"zonebuild: a.: published with serial 1: the records changed; 1 signature made, 9 kept":   "",
		"zonebuild: a.: published with serial 1: the records changed; 17 signatures made, 9 kept": "17 signatures were made for one added TXT, want at most 4",
		"nothing": "no signatures were made: nothing",
	} {
		_, err := madeFew(said)
		if got := message(err); got != want {
			t.Errorf("%s: %q, want %q", said, got, want)
		}
	}
	two := "a.: published with serial 1: x\nb.: published with serial 2: y\n"
	if got := message(published(two, 1)); got != "2 zones published, want 1: "+two {
		t.Error(got)
	}
}

func message(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestFloor(t *testing.T) {
	for _, verify := range []bool{false, true} {
		var out strings.Builder
		if err := floorChild(1000, verify, &out); err != nil || !strings.Contains(out.String(), ".") {
			t.Errorf("%q, %v", out.String(), err)
		}
	}
}
