package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// maxTxnDepth bounds transactions inside transactions.
const maxTxnDepth = 16

// jsonTxnRequest is a transaction in its JSON form.
type jsonTxnRequest struct {
	Compare []jsonCompare `json:"compare"`
	Success []jsonOp      `json:"success"`
	Failure []jsonOp      `json:"failure"`
}

// jsonInterval names a key, or the keys of an interval.
type jsonInterval struct {
	Key            *string `json:"key"`
	KeyBase64      []byte  `json:"key_base64"`
	RangeEnd       *string `json:"range_end"`
	RangeEndBase64 []byte  `json:"range_end_base64"`
	Prefix         bool    `json:"prefix"`
	FromKey        bool    `json:"from_key"`
}

type jsonCompare struct {
	jsonInterval
	Target      string  `json:"target"`
	Op          string  `json:"op"`
	Value       *string `json:"value"`
	ValueBase64 []byte  `json:"value_base64"`
	Number      *int64  `json:"number"`
}

// jsonOp has one field set.
type jsonOp struct {
	Get *jsonGetOp      `json:"get"`
	Put *jsonPutOp      `json:"put"`
	Del *jsonDelOp      `json:"del"`
	Txn *jsonTxnRequest `json:"txn"`
}

type jsonGetOp struct {
	jsonInterval
	Limit       int64  `json:"limit"`
	Revision    int64  `json:"revision"`
	KeysOnly    bool   `json:"keys_only"`
	CountOnly   bool   `json:"count_only"`
	Order       string `json:"order"`
	SortBy      string `json:"sort_by"`
	Consistency string `json:"consistency"`
}

type jsonPutOp struct {
	Key         *string `json:"key"`
	KeyBase64   []byte  `json:"key_base64"`
	Value       *string `json:"value"`
	ValueBase64 []byte  `json:"value_base64"`
	PrevKV      bool    `json:"prev_kv"`
	IgnoreValue bool    `json:"ignore_value"`
	Lease       string  `json:"lease"`
	IgnoreLease bool    `json:"ignore_lease"`
}

type jsonDelOp struct {
	jsonInterval
	PrevKV bool `json:"prev_kv"`
}

func parseTxnJSON(in io.Reader) (clientv3.Op, error) {
	b, err := readText(in)
	if err != nil {
		return clientv3.Op{}, err
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	var t jsonTxnRequest
	if err := dec.Decode(&t); err != nil {
		return clientv3.Op{}, fmt.Errorf("the transaction is not as 'chainfire txn --help' shows it: %w", err)
	}
	if dec.More() {
		return clientv3.Op{}, errors.New("there is more than one JSON object; give one transaction")
	}
	return t.op(1)
}

func (t *jsonTxnRequest) op(depth int) (clientv3.Op, error) {
	if depth > maxTxnDepth {
		return clientv3.Op{}, fmt.Errorf("transactions are nested deeper than %d", maxTxnDepth)
	}
	var compares []clientv3.Cmp
	for i := range t.Compare {
		c, err := t.Compare[i].cmp()
		if err != nil {
			return clientv3.Op{}, fmt.Errorf("comparison %d: %w", i+1, err)
		}
		compares = append(compares, c)
	}
	success, err := jsonOps(t.Success, "success", depth)
	if err != nil {
		return clientv3.Op{}, err
	}
	failure, err := jsonOps(t.Failure, "failure", depth)
	if err != nil {
		return clientv3.Op{}, err
	}
	return clientv3.OpTxn(compares, success, failure), nil
}

func jsonOps(list []jsonOp, name string, depth int) ([]clientv3.Op, error) {
	var out []clientv3.Op
	for i := range list {
		op, err := list[i].op(depth)
		if err != nil {
			return nil, fmt.Errorf("%s %d: %w", name, i+1, err)
		}
		out = append(out, op)
	}
	return out, nil
}

func (o *jsonOp) op(depth int) (clientv3.Op, error) {
	set := 0
	for _, is := range []bool{o.Get != nil, o.Put != nil, o.Del != nil, o.Txn != nil} {
		if is {
			set++
		}
	}
	switch {
	case set != 1:
		return clientv3.Op{}, errors.New("give one of get, put, del and txn")
	case o.Get != nil:
		return o.Get.op()
	case o.Put != nil:
		return o.Put.op()
	case o.Del != nil:
		args, err := o.Del.args()
		if err != nil {
			return clientv3.Op{}, err
		}
		d := delOptions{prefix: o.Del.Prefix, fromKey: o.Del.FromKey, prevKV: o.Del.PrevKV}
		return d.op(args)
	}
	return o.Txn.op(depth + 1)
}

func (g *jsonGetOp) op() (clientv3.Op, error) {
	args, err := g.args()
	if err != nil {
		return clientv3.Op{}, err
	}
	o := getOptions{
		prefix: g.Prefix, fromKey: g.FromKey, limit: g.Limit, rev: g.Revision, keysOnly: g.KeysOnly,
		countOnly: g.CountOnly, order: g.Order, sortBy: g.SortBy, consistency: g.Consistency,
	}
	if o.consistency == "" {
		o.consistency = "l"
	}
	return o.op(args)
}

func (p *jsonPutOp) op() (clientv3.Op, error) {
	key, err := eitherBytes("key", p.Key, p.KeyBase64)
	if err != nil {
		return clientv3.Op{}, err
	}
	value, err := eitherBytes("value", p.Value, p.ValueBase64)
	if err != nil {
		return clientv3.Op{}, err
	}
	o := putOptions{prevKV: p.PrevKV, ignoreValue: p.IgnoreValue, ignoreLease: p.IgnoreLease}
	if p.Lease != "" {
		if err := o.lease.Set(p.Lease); err != nil {
			return clientv3.Op{}, err
		}
	}
	if p.IgnoreValue && p.Value == nil && p.ValueBase64 == nil {
		return o.op([]string{key}, nil)
	}
	return o.op([]string{key, value}, nil)
}

// args are the KEY [RANGE_END] that an interval stands for.
func (v *jsonInterval) args() ([]string, error) {
	key, err := eitherBytes("key", v.Key, v.KeyBase64)
	if err != nil {
		return nil, err
	}
	end, err := eitherBytes("range_end", v.RangeEnd, v.RangeEndBase64)
	if err != nil {
		return nil, err
	}
	if v.RangeEnd == nil && v.RangeEndBase64 == nil {
		return []string{key}, nil
	}
	return []string{key, end}, nil
}

// eitherBytes is the one of two fields that is set, as bytes; empty when neither is.
func eitherBytes(name string, s *string, b []byte) (string, error) {
	switch {
	case s != nil && b != nil:
		return "", fmt.Errorf("give one of %s and %s_base64", name, name)
	case s != nil:
		return *s, nil
	}
	return string(b), nil
}

func (c *jsonCompare) cmp() (clientv3.Cmp, error) {
	args, err := c.args()
	if err != nil {
		return clientv3.Cmp{}, err
	}
	// The rules for intervals are those of get, and so is the way to write them.
	key, opts, err := interval(args, c.Prefix, c.FromKey)
	if err != nil {
		return clientv3.Cmp{}, err
	}
	result, err := compareResult(c.Op)
	if err != nil {
		return clientv3.Cmp{}, err
	}
	whole := clientv3.OpGet(key, opts...)
	out := &etcdserverpb.Compare{Result: result, Key: whole.KeyBytes(), RangeEnd: whole.RangeBytes()}
	if err := c.target(out); err != nil {
		return clientv3.Cmp{}, err
	}
	return clientv3.FromCompare(out), nil
}

// target sets what is compared, and with what.
func (c *jsonCompare) target(out *etcdserverpb.Compare) error {
	name := strings.ToLower(c.Target)
	if name == "value" || name == "val" {
		value, err := eitherBytes("value", c.Value, c.ValueBase64)
		if err != nil {
			return err
		}
		if c.Number != nil || (c.Value == nil && c.ValueBase64 == nil) {
			return errors.New("a value is compared with value or value_base64")
		}
		out.Target = etcdserverpb.Compare_VALUE
		out.TargetUnion = &etcdserverpb.Compare_Value{Value: []byte(value)}
		return nil
	}
	if c.Number == nil || c.Value != nil || c.ValueBase64 != nil {
		return fmt.Errorf("%q is compared with a number", c.Target)
	}
	n := *c.Number
	switch name {
	case "version", "ver":
		out.Target, out.TargetUnion = etcdserverpb.Compare_VERSION, &etcdserverpb.Compare_Version{Version: n}
	case "create", "c":
		out.Target, out.TargetUnion = etcdserverpb.Compare_CREATE, &etcdserverpb.Compare_CreateRevision{CreateRevision: n}
	case "mod", "m":
		out.Target, out.TargetUnion = etcdserverpb.Compare_MOD, &etcdserverpb.Compare_ModRevision{ModRevision: n}
	case "lease":
		out.Target, out.TargetUnion = etcdserverpb.Compare_LEASE, &etcdserverpb.Compare_Lease{Lease: n}
	default:
		return fmt.Errorf("the target %q is not one of value, version, create, mod and lease", c.Target)
	}
	return nil
}
