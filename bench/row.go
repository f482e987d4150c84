package main

import (
	"context"
	"fmt"
)

// scene is what a row finds when its turn comes.
type scene int

// The scenes.
const (
	// stocked are two running clusters with some keys.
	stocked scene = iota
	// quiet are two as those, for rows that feel what others left to be written later.
	quiet
	// history are two running clusters that hold nothing but what rows put.
	history
	// big are two running clusters with very many keys.
	big
	// bare is no running cluster: the row starts what it needs.
	bare
)

// row is one line of the table: a load, and what is asked of its figures.
type row struct {
	name, title string
	scene       scene
	// chief rows are measured in a short table, too, at members alone if that is above 0.
	chief        bool
	chiefMembers int
	// members are the sizes of clusters that the row is for; nil is all.
	members []int
	// shows are the figures in the table besides those with a target.
	shows   []figure
	targets []target
	// run is one turn of one system.
	run func(ctx context.Context, t *table, s *stand) (measured, error)
	// floor, if any, measures in each round what cannot be undercut.
	floor func(t *table, ctx context.Context) (measured, error)
}

// target is what the ratio of ChainFire's figure to etcd's should be, or to the floor's.
type target struct {
	figure  figure
	limit   float64
	members int // 0 is any
	toFloor bool
}

func (t target) String() string {
	sign := "≤"
	if t.figure.moreIsBetter() {
		sign = "≥"
	}
	to := ""
	if t.toFloor {
		to = " × limit"
	}
	return fmt.Sprintf("%s %.2g%s", sign, t.limit, to)
}

// met tells whether a ratio is what was asked for.
func (t target) met(ratio float64) bool {
	if t.figure.moreIsBetter() {
		return ratio >= t.limit
	}
	return ratio > 0 && ratio <= t.limit
}

func (r row) isFor(members int, full bool) bool {
	if !full && (!r.chief || r.chiefMembers > 0 && r.chiefMembers != members) {
		return false
	}
	return r.fits(members)
}

// fits tells whether the row can be measured with so many members.
func (r row) fits(members int) bool {
	for _, m := range r.members {
		if m == members {
			return true
		}
	}
	return r.members == nil
}
