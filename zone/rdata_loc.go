package zone

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strconv"
)

// appendLOC reads D [M [S]] N|S D [M [S]] E|W ALTITUDE [SIZE [HORIZONTAL
// [VERTICAL]]] (RFC 1876 §3). miekg/dns takes no place without seconds and
// rounds some seconds down by a thousandth.
func appendLOC(dst []byte, tokens []token) ([]byte, error) {
	for i, t := range tokens {
		if t.quoted {
			return dst, faultAt(i, "a place is not quoted")
		}
	}
	at := 0
	latitude, err := angle(tokens, &at, 90, 'N', 'S')
	if err != nil {
		return dst, err
	}
	longitude, err := angle(tokens, &at, 180, 'E', 'W')
	if err != nil {
		return dst, err
	}
	if at == len(tokens) {
		return dst, faultAt(-1, "rdata ends early: the altitude is missing")
	}
	altitude, err := altitude(tokens[at].text)
	if err != nil {
		return dst, faultAt(at, "%s", err)
	}
	at++
	sizes := [...]byte{0x12, 0x16, 0x13} // 1 m, 10 km, 10 m
	for i := range sizes {
		if at == len(tokens) {
			break
		}
		cm, err := centimetres(tokens[at].text)
		if err != nil {
			return dst, faultAt(at, "%s", err)
		}
		exponent := byte(0)
		for ; cm >= 10; exponent++ {
			cm /= 10
		}
		sizes[i] = byte(cm)<<4 | exponent
		at++
	}
	if at < len(tokens) {
		return dst, faultAt(at, "unexpected %s after the rdata", quote(tokens[at].text))
	}
	dst = append(append(dst, 0), sizes[:]...)
	dst = binary.BigEndian.AppendUint32(dst, latitude)
	dst = binary.BigEndian.AppendUint32(dst, longitude)
	return binary.BigEndian.AppendUint32(dst, altitude), nil
}

// angle reads degrees, minutes, seconds and the direction.
func angle(tokens []token, at *int, max uint64, plus, minus byte) (uint32, error) {
	var parts [3]uint64 // degrees, minutes, thousandths of a second
	first := *at
	for n := 0; *at < len(tokens); n++ {
		t := tokens[*at].text
		if c := t[0] &^ 0x20; n > 0 && len(t) == 1 && (c == plus || c == minus) {
			v := (parts[0]*60+parts[1])*60000 + parts[2]
			if v > max*3600000 {
				return 0, faultAt(first, "more than %d degrees", max)
			}
			*at++
			if c == minus {
				return 1<<31 - uint32(v), nil
			}
			return 1<<31 + uint32(v), nil
		}
		if n == len(parts) {
			break
		}
		v, ok, bound := uint64(0), false, uint64(60)
		if n == 2 {
			v, ok = decimal(t, 3)
			bound *= 1000
		} else {
			v, ok = decimal(t, 0)
		}
		if n == 0 {
			bound = max + 1
		}
		if !ok || v >= bound {
			return 0, faultAt(*at, "%s is no part of a place in degrees, minutes, seconds", quote(t))
		}
		parts[n] = v
		*at++
	}
	return 0, faultAt(min(*at, len(tokens)-1), "%c or %c is missing", plus, minus)
}

func altitude(text []byte) (uint32, error) {
	below, isBelow := bytes.CutPrefix(text, []byte("-"))
	cm, ok := decimal(bytes.TrimRight(below, "mM"), 2)
	switch {
	case !ok || len(below)-len(bytes.TrimRight(below, "mM")) > 1:
		return 0, fmt.Errorf("%s is no altitude in metres", quote(text))
	case isBelow && cm > 10000000 || !isBelow && cm > 1<<32-1-10000000:
		return 0, fmt.Errorf("altitude %s is not from -100000m to 42849672.95m", quote(text))
	case isBelow:
		return uint32(10000000 - cm), nil
	}
	return uint32(10000000 + cm), nil
}

func centimetres(text []byte) (uint64, error) {
	number := bytes.TrimRight(text, "mM")
	cm, ok := decimal(number, 2)
	if !ok || len(text)-len(number) > 1 || cm > 9000000000 {
		return 0, fmt.Errorf("%s is no size from 0 to 90000000m", quote(text))
	}
	return cm, nil
}

// decimal reads digits with at most so many after the point, as an integer of
// the last one's unit.
func decimal(text []byte, places int) (uint64, bool) {
	whole, fraction, point := bytes.Cut(text, []byte("."))
	if len(whole) == 0 || len(whole) > 10 || point && (len(fraction) == 0 || len(fraction) > places) {
		return 0, false
	}
	digits := append(bytes.Clone(whole), fraction...)
	for range places - len(fraction) {
		digits = append(digits, '0')
	}
	for _, c := range digits {
		if c < '0' || c > '9' {
			return 0, false
		}
	}
	v, err := strconv.ParseUint(string(digits), 10, 64)
	return v, err == nil
}
