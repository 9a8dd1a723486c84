package sshfp

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"net/netip"
	"strings"

	"zonebuild/internal/domain"
)

// isOurs reports whether the first field of a line of known_hosts names this
// host: in its list, or hashed. If not, it says why the line is passed over.
func (r *reader) isOurs(hosts field) bool {
	if strings.HasPrefix(hosts.text, "|") {
		return r.isHashed(hosts)
	}
	if strings.ContainsAny(hosts.text, "*?!") {
		r.warnf(hosts.at, "sshfp-pattern", "passed over: %s is a pattern", quote(hosts.text))
		return false
	}
	onPort, names := false, false
	for item := range strings.SplitSeq(hosts.text, ",") {
		name, bracketed := strings.CutPrefix(item, "[")
		if bracketed {
			name, _, _ = strings.Cut(name, "]")
		}
		switch _, err := netip.ParseAddr(name); {
		case err == nil:
		case !r.isHost(name):
			names = true
		case bracketed:
			onPort = true
		default:
			return true
		}
	}
	switch {
	case onPort:
		r.warnf(hosts.at, "sshfp-port", "passed over: %s has a port, SSHFP has none", quote(hosts.text))
	case names:
		r.warnf(hosts.at, "sshfp-other-host", "passed over: %s is not this host", quote(hosts.text))
	default:
		r.warnf(hosts.at, "sshfp-address", "passed over: %s is an address, OpenSSH looks for names", quote(hosts.text))
	}
	return false
}

func (r *reader) isHost(s string) bool {
	name, err := domain.Parse(s)
	return err == nil && name == r.host
}

// isHashed tests a name of the form |1|SALT|HASH, HMAC-SHA1 of the name with the
// salt as its key. It can be tested, not read.
func (r *reader) isHashed(hosts field) bool {
	parts := strings.Split(hosts.text, "|")
	if len(parts) != 4 || parts[1] != "1" {
		r.errorf(hosts.at, "sshfp-hash", "the host is left out: no hashed name as ssh-keygen -H writes it")
		return false
	}
	salt, err1 := base64.StdEncoding.Strict().DecodeString(parts[2])
	hash, err2 := base64.StdEncoding.Strict().DecodeString(parts[3])
	if err1 != nil || err2 != nil || len(salt) != sha1.Size || len(hash) != sha1.Size {
		r.errorf(hosts.at, "sshfp-hash", "the host is left out: no hashed name as ssh-keygen -H writes it")
		return false
	}
	mac := hmac.New(sha1.New, salt)
	mac.Write([]byte(strings.TrimSuffix(r.host.String(), ".")))
	if hmac.Equal(mac.Sum(nil), hash) {
		return true
	}
	r.warnf(hosts.at, "sshfp-other-host", "passed over: the hashed name is not this host")
	return false
}
