package main

import (
	"encoding/json"
	"strings"
	"testing"

	"chainfire"
	"chainfire/auth"
	"chainfire/machine"
)

func TestCommandsOfUsersAndAlarmsAreShownWithoutHashes(t *testing.T) {
	hash := []byte("$2a$10$the-hash-of-a-password")
	for want, c := range map[string]machine.Command{
		`{"alarm":{"member":"3","alarm":"CORRUPT"}}`:               {SetAlarm: &machine.SetAlarm{Member: 3, Type: chainfire.AlarmCorrupt}},
		`{"alarm":{"member":"0","alarm":"NOSPACE","off":true}}`:    {SetAlarm: &machine.SetAlarm{Type: chainfire.AlarmNoSpace, Off: true}},
		`{"auth":{"change":"add a user","user":"eve"}}`:            {Auth: &auth.Change{Op: chainfire.AuthUserAdd, User: "eve", Hash: hash}},
		`{"auth":{"change":"change a password","user":"eve"}}`:     {Auth: &auth.Change{Op: chainfire.AuthUserPassword, User: "eve", Hash: hash}},
		`{"auth":{"change":"enable authentication"}}`:              {Auth: &auth.Change{Op: chainfire.AuthEnable}},
		`{"auth":{"change":"grant a role","user":"u","role":"r"}}`: {Auth: &auth.Change{Op: chainfire.AuthUserGrant, User: "u", Role: "r"}},
		`{"auth":{"change":"grant a permission","role":"r","permission":{"type":"readwrite","key":"a","range_end":"b"}}}`: {Auth: &auth.Change{
			Op: chainfire.AuthRoleGrant, Role: "r", Permission: &chainfire.Permission{Type: chainfire.PermitReadWrite, Key: []byte("a"), RangeEnd: []byte("b")},
		}},
		`{"authenticate":{"user":"eve"}}`: {Authenticate: &machine.Authenticate{User: "eve", TokenHash: hash}},
	} {
		b, err := json.Marshal(newJSONCommand(&c))
		if err != nil {
			t.Fatal(err)
		}
		if got := string(b); got != want || strings.Contains(got, "hash") {
			t.Errorf("%s, want %s", got, want)
		}
	}
}
