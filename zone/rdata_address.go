package zone

import "net/netip"

// appendIPv4 appends four decimal numbers without leading zeros (RFC 1035 §3.4.1). It
// takes what netip.ParseAddr takes, but makes no string of the text: a large zone is
// full of addresses.
func appendIPv4(dst, text []byte) ([]byte, bool) {
	v, digits, dots := 0, 0, 0
	out := dst
	for _, c := range text {
		switch {
		case c == '.' && digits > 0 && dots < 3:
			out = append(out, byte(v))
			v, digits = 0, 0
			dots++
		case c < '0' || c > '9' || digits > 0 && v == 0:
			return dst, false
		default:
			if v = v*10 + int(c-'0'); v > 255 {
				return dst, false
			}
			digits++
		}
	}
	if dots != 3 || digits == 0 {
		return dst, false
	}
	return append(out, byte(v)), true
}

// appendIPv6 appends an address in the forms of RFC 4291 §2.2, without a zone.
func appendIPv6(dst, text []byte) ([]byte, bool) {
	ip, err := netip.ParseAddr(string(text))
	if err != nil || ip.Is4() || ip.Zone() != "" {
		return dst, false
	}
	b := ip.As16()
	return append(dst, b[:]...), true
}
