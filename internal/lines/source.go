package lines

import "zonebuild/internal/config"

// Source says where the live certificate was ordered, and how. It is not known of one
// that was taken over from another client.
type Source struct {
	Cert      string `json:"cert"`      // Generation.ID: it is of this one and no other
	Directory string `json:"directory"` // URL of the CA's
	Profile   string `json:"profile,omitempty"`
	Issuer    string `json:"issuer,omitempty"` // that was wanted
}

// Wanted is where acmehook.toml wants certificates from. The zero value is not known.
type Wanted struct {
	Directory string
	Trial     bool // the CA is one for trials, whose certificates nobody believes
}

func wanted(h *config.Hook) Wanted {
	if h.Account == nil {
		return Wanted{}
	}
	return Wanted{h.Account.Directory, h.Account.Trial}
}

// elsewhere reports whether the certificate is known to be of another CA.
func (s Source) elsewhere(g *Generation, w Wanted) bool {
	return g != nil && s.Cert == g.ID() && s.Directory != "" && w.Directory != "" && s.Directory != w.Directory
}

// outdated says why the certificate is not such as the line wants it now; empty: it is, or
// nobody knows.
func (s Source) outdated(g *Generation, l config.Line, w Wanted) string {
	switch {
	case s.Cert != g.ID() || s.Directory == "":
		return ""
	case s.elsewhere(g, w):
		return "the live certificate is of another CA, " + s.Directory
	case s.Profile != l.Profile:
		return "the profile has changed"
	case s.Issuer != l.Issuer:
		return "the wanted issuer has changed"
	}
	return ""
}
