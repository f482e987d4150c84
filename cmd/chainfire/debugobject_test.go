package main

import (
	"encoding/json"
	"testing"

	"chainfire/machine"
	"chainfire/object"
)

func TestChangesOfObjectsAreShownWithoutSecretsAndContents(t *testing.T) {
	inline := object.Body{Size: 6, Inline: []byte("secret")}
	extents := object.Body{ID: object.BodyID{Lease: 5, N: 2}, Size: 7, Extents: []object.Extent{{Size: 7}}}
	nine := object.VersionID(9)
	for want, c := range map[string]*object.Change{
		`{"change":"create_bucket","time_ms":1,"bucket":"b"}`:                             {CreateBucket: &object.CreateBucket{Name: "b"}},
		`{"change":"delete_bucket","time_ms":1,"bucket":"b"}`:                             {DeleteBucket: &object.DeleteBucket{Name: "b"}},
		`{"change":"set_bucket","time_ms":1,"bucket":"b"}`:                                {SetBucket: &object.SetBucket{Name: "b"}},
		`{"change":"set_config","time_ms":1,"bucket":"b","name":"cors","size":6}`:         {SetConfig: &object.SetConfig{Bucket: "b", Name: "cors", Value: []byte("secret")}},
		`{"change":"put","time_ms":1,"bucket":"b","key":"k","size":6}`:                    {Put: &object.Put{Bucket: "b", Key: "k", Body: inline}},
		`{"change":"put","time_ms":1,"bucket":"b","key_base64":"/w==","size":6}`:          {Put: &object.Put{Bucket: "b", Key: "\xff", Body: inline}},
		`{"change":"create_upload","time_ms":1,"bucket":"b","key":"k"}`:                   {CreateUpload: &object.CreateUpload{Bucket: "b", Key: "k"}},
		`{"change":"complete","time_ms":1,"bucket":"b","key":"k","upload":"4","parts":1}`: {Complete: &object.Complete{Bucket: "b", Key: "k", Upload: 4, Parts: []object.CompletePart{{}}}},
		`{"change":"abort","time_ms":1,"bucket":"b","key":"k","upload":"4"}`:              {Abort: &object.Abort{Bucket: "b", Key: "k", Upload: 4}},
		`{"change":"open_lease","time_ms":1,"member":"1","boots":2}`:                      {OpenLease: &object.OpenLease{Member: 1, Boots: 2}},
		`{"change":"close_lease","time_ms":1,"write_lease":"5"}`:                          {CloseLease: &object.CloseLease{ID: 5}},
		`{"change":"close_leases","time_ms":1,"member":"1","boots":2}`:                    {CloseLeases: &object.CloseLeases{Member: 1, Boots: 2}},
		`{"change":"set_key","time_ms":1,"access_key":"AK"}`:                              {SetKey: &object.SetKey{Key: object.AccessKey{ID: "AK", Sealed: []byte("secret")}}},
		`{"change":"delete_key","time_ms":1,"access_key":"AK"}`:                           {DeleteKey: &object.DeleteKey{ID: "AK"}},
		`{"change":"reap","time_ms":1}`:                                                   {Reap: &object.Reap{}},
		`{"change":"copy","time_ms":1,"bucket":"c","key":"l","source":{"bucket":"b","key":"k","version":"9"}}`: {Copy: &object.Copy{
			SourceBucket: "b", SourceKey: "k", SourceSeq: 9, Bucket: "c", Key: "l",
		}},
		`{"change":"delete","time_ms":1,"bucket":"b","versions":[{"key":"k"},{"key":"l","version":"9"}]}`: {Delete: &object.Delete{
			Bucket: "b", Objects: []object.DeleteObject{{Key: "k"}, {Key: "l", Version: &nine}},
		}},
		`{"change":"set_object","time_ms":1,"bucket":"b","versions":[{"key":"k","version":"9"}]}`: {SetObject: &object.SetObject{Bucket: "b", Key: "k", Version: &nine}},
		`{"change":"put_part","time_ms":1,"bucket":"b","key":"k","upload":"4","part":3,"size":7,"body":{"write_lease":"5","n":2,"extents":1}}`: {PutPart: &object.PutPart{
			Bucket: "b", Key: "k", Upload: 4, Number: 3, Body: extents,
		}},
	} {
		c.Time = 1
		b, err := json.Marshal(newJSONCommand(&machine.Command{Object: c}))
		if err != nil {
			t.Fatal(err)
		}
		if got := string(b); got != `{"object":`+want+`}` {
			t.Errorf("%s, want %s", got, want)
		}
	}
}
