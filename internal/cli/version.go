package cli

import (
	"cmp"
	"runtime"
	"runtime/debug"
	"strings"
)

// version is set by the linker where the build knows better than the module:
// -ldflags "-X zonebuild/internal/cli.version=v1.2.3".
var version string

// Build says what program this is.
type Build struct {
	Version  string `json:"version"`            // of the module; never empty
	Revision string `json:"revision,omitempty"` // of the source, shortened
	Modified bool   `json:"modified"`           // the source differed from that revision
	Time     string `json:"time,omitempty"`     // of the revision
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

// String is the line that `version` prints. A pseudo-version names the revision
// and "+dirty" already.
func (b Build) String() string {
	s := b.Version
	if b.Revision != "" && !strings.Contains(b.Version, b.Revision) {
		s += " (" + b.Revision
		if b.Modified {
			s += ", modified"
		}
		s += ")"
	}
	return s + " " + b.Go + " " + b.Platform
}

// ThisBuild reads the build info of the running program.
func ThisBuild() Build {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		info = &debug.BuildInfo{GoVersion: runtime.Version()}
	}
	return describe(info, version)
}

// Version is the version alone, for log lines and file headers.
func Version() string { return ThisBuild().Version }

const revisionLen = 12 // as in a pseudo-version

func describe(info *debug.BuildInfo, override string) Build {
	setting := func(key string) string {
		for _, s := range info.Settings {
			if s.Key == key {
				return s.Value
			}
		}
		return ""
	}
	revision := setting("vcs.revision")
	revision = revision[:min(len(revision), revisionLen)]
	b := Build{
		Revision: revision,
		Modified: setting("vcs.modified") == "true",
		Time:     setting("vcs.time"),
		Go:       cmp.Or(info.GoVersion, runtime.Version()),
		Platform: cmp.Or(setting("GOOS"), runtime.GOOS) + "/" + cmp.Or(setting("GOARCH"), runtime.GOARCH),
	}
	b.Version = cmp.Or(strings.TrimSpace(override), moduleVersion(info), "devel")
	return b
}

// moduleVersion is "" where the go command knew no version: (devel) says
// nothing, and the revision stands beside it anyway.
func moduleVersion(info *debug.BuildInfo) string {
	if info.Main.Version == "(devel)" {
		return ""
	}
	return info.Main.Version
}
