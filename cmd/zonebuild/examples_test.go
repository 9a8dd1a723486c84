package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"zonebuild/internal/lab"
)

// TestUnits: systemd accepts the service files as they are, but for the programs,
// which are not installed here.
func TestUnits(t *testing.T) {
	lab.Need(t, "systemd-analyze")
	files, err := filepath.Glob("../../examples/systemd/*")
	if err != nil || len(files) < 3 {
		t.Fatalf("units: %v %v", files, err)
	}
	dir := t.TempDir()
	args := []string{"verify", "--man=no", "--recursive-errors=no"}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		text := regexp.MustCompile(`/usr/local/bin/(zonebuild|acmehook)`).ReplaceAllString(string(b), "/bin/true")
		copied := filepath.Join(dir, filepath.Base(file))
		if err := os.WriteFile(copied, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		args = append(args, copied)
	}
	said, ok := lab.Try(t, "systemd-analyze", args...)
	for line := range strings.Lines(said) {
		if strings.Contains(line, dir) || !ok {
			t.Error(strings.TrimSpace(line))
		}
	}
	bad := filepath.Join(dir, "bad.service")
	if err := os.WriteFile(bad, []byte("[Service]\nExecStart=/bin/nosuch\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if said, ok := lab.Try(t, "systemd-analyze", "verify", "--man=no", bad); ok {
		t.Errorf("a bad unit passes: %s", said)
	}
}

// TestRCScript: a shell accepts it, and shellcheck does.
func TestRCScript(t *testing.T) {
	lab.Run(t, "sh", "-n", absolute(t, "../../examples/freebsd/zonebuild"))
	lab.Need(t, "shellcheck")
	lab.Run(t, "shellcheck", "-e", "SC1091,SC2034", absolute(t, "../../examples/freebsd/zonebuild"))
}

// TestAlertRules: Prometheus takes the rules, each of them fires in time and not
// before (testdata/prometheus), and each metric in them is one that there is.
func TestAlertRules(t *testing.T) {
	const file = "../../examples/prometheus/alerts.yml"
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("../../internal/daemon/pages.go")
	if err != nil {
		t.Fatal(err)
	}
	used := regexp.MustCompile(`zonebuild_([a-z_]+)`).FindAllStringSubmatch(string(b), -1)
	if len(used) < 10 {
		t.Fatalf("only %d metrics in %s", len(used), file)
	}
	for _, m := range used {
		if !strings.Contains(string(source), `{"`+m[1]+`", `) {
			t.Errorf("%s: there is no metric %s", file, m[0])
		}
	}
	cases, args := "", []string{"test", "rules"}
	for _, tests := range []string{"testdata/prometheus/alerts.yml", "testdata/prometheus/days.yml"} {
		text, err := os.ReadFile(tests)
		if err != nil {
			t.Fatal(err)
		}
		cases += string(text)
		args = append(args, absolute(t, tests))
	}
	for _, m := range regexp.MustCompile(`- alert: (\w+)`).FindAllStringSubmatch(string(b), -1) {
		if !strings.Contains(cases, "        alertname: "+m[1]+"\n        exp_alerts:\n") {
			t.Errorf("nothing shows that %s fires", m[1])
		}
	}
	lab.Run(t, "promtool", "check", "rules", absolute(t, file))
	lab.Run(t, "promtool", args...)
}

func absolute(t *testing.T, path string) string {
	t.Helper()
	abs, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return abs
}
