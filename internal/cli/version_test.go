package cli

import (
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
)

func TestDescribe(t *testing.T) {
	settings := []debug.BuildSetting{
		{Key: "GOARCH", Value: "amd64"}, {Key: "GOOS", Value: "freebsd"},
		{Key: "vcs.revision", Value: "0123456789abcdef0123456789abcdef01234567"},
		{Key: "vcs.time", Value: "2026-01-02T03:04:05Z"}, {Key: "vcs.modified", Value: "true"},
	}
	here := runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH
	tests := []struct {
		name     string
		info     debug.BuildInfo
		override string
		version  string
		line     string
	}{
		{"no build info", debug.BuildInfo{}, "", "devel", "devel " + here},
		{"blank override", debug.BuildInfo{}, " ", "devel", "devel " + here},
		{"no revision", debug.BuildInfo{GoVersion: "go1.26.8", Main: debug.Module{Version: "(devel)"}}, "",
			"devel", "devel go1.26.8 " + runtime.GOOS + "/" + runtime.GOARCH},
		{"by go install", debug.BuildInfo{GoVersion: "go1.26.8", Main: debug.Module{Version: "v1.2.3"}}, "",
			"v1.2.3", "v1.2.3 go1.26.8 " + runtime.GOOS + "/" + runtime.GOARCH},
		{"from a work tree", debug.BuildInfo{GoVersion: "go1.26.8", Main: debug.Module{Version: "(devel)"}, Settings: settings}, "",
			"devel", "devel (0123456789ab, modified) go1.26.8 freebsd/amd64"},
		{"pseudo-version", debug.BuildInfo{GoVersion: "go1.26.8", Main: debug.Module{Version: "v0.0.0-20260102030405-0123456789ab+dirty"}, Settings: settings}, "",
			"v0.0.0-20260102030405-0123456789ab+dirty", "v0.0.0-20260102030405-0123456789ab+dirty go1.26.8 freebsd/amd64"},
		{"override", debug.BuildInfo{GoVersion: "go1.26.8", Main: debug.Module{Version: "v1.2.3"}, Settings: settings[:3]}, "v9",
			"v9", "v9 (0123456789ab) go1.26.8 freebsd/amd64"},
	}
	for _, tt := range tests {
		b := describe(&tt.info, tt.override)
		if b.Version != tt.version || b.String() != tt.line {
			t.Errorf("%s: version %q, line %q; want %q, %q", tt.name, b.Version, b, tt.version, tt.line)
		}
	}
}

func TestVersionIsNeverEmpty(t *testing.T) {
	if strings.TrimSpace(Version()) == "" {
		t.Error("empty version")
	}
	if b := ThisBuild(); b.Go == "" || b.Platform == "" {
		t.Errorf("%+v", b)
	}
}
