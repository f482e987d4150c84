package node

import (
	"fmt"
	"maps"
	"slices"
)

// answer is what one member said of its key space.
type answer struct {
	member uint64
	hashed
}

// opinion is all that tells two members apart that were asked for one point of the log.
type opinion struct {
	standing standing
	sum      uint64
	// objects is 0 where not all members know it.
	objects uint64
}

// standing is where a member is that has applied the log up to there.
type standing uint8

const (
	// level members have the revision, and a hash of it.
	level standing = iota
	// behind is a member that lacks revisions, or a compaction, of the log that it applied.
	behind
	// ahead is a member that has some that are in no log.
	ahead
)

func (s standing) String() string { return [...]string{"level", "behind", "ahead"}[s] }

// nobody is the member of an alarm where it is not known who is wrong: as in etcd, the
// whole cluster.
const nobody uint64 = 0

// verdict is what the answers come to.
type verdict struct {
	// asked is the point that the members were asked for.
	asked point
	// opinions are those of the members that can be compared.
	opinions map[uint64]opinion
	// moved are members at another compacted revision, which are to be asked again.
	moved []uint64
	// wrong are the members that differ from a majority of the voters, in order, or nobody.
	wrong []uint64
}

// judge compares what members said of the point that they were asked for, this one among
// them. now is where this one was when it had heard of all the others, and still led:
// nobody can have applied more. Voters alone say what is right: a majority of three or more,
// or two that agree.
func judge(asked, now point, votes func(id uint64) bool, answers []answer) verdict {
	v := verdict{asked: asked, opinions: map[uint64]opinion{}}
	// count is how many voters are of each opinion that any member is of.
	count := map[opinion]int{}
	voters := 0
	objects := !slices.ContainsFunc(answers, func(a answer) bool { return !a.objectsKnown })
	for _, a := range answers {
		o := opinion{standing: level, sum: a.sum}
		if objects {
			o.objects = a.objects
		}
		switch {
		case a.at.rev > now.rev || a.at.compacted > now.compacted:
			o.standing = ahead
		case a.at.rev < asked.rev || a.at.compacted < asked.compacted:
			o = opinion{standing: behind}
		case !a.ok || a.at.compacted != asked.compacted:
			v.moved = append(v.moved, a.member)
			continue
		}
		v.opinions[a.member] = o
		count[o] += 0
		if votes(a.member) {
			count[o]++
			voters++
		}
	}
	if len(count) < 2 {
		return v
	}
	for o, n := range count {
		if voters < 2 || 2*n <= voters {
			continue
		}
		for member, other := range v.opinions {
			if other != o {
				v.wrong = append(v.wrong, member)
			}
		}
		slices.Sort(v.wrong)
		return v
	}
	v.wrong = []uint64{nobody}
	return v
}

// members are those that were compared, in order.
func (v *verdict) members() []uint64 { return slices.Sorted(maps.Keys(v.opinions)) }

// equal reports whether two looks came to the same.
func (v *verdict) equal(o *verdict) bool { return slices.Equal(v.wrong, o.wrong) }

// unclear reports whether there is a difference, and nobody knows who is wrong.
func (v *verdict) unclear() bool { return len(v.wrong) > 0 && v.wrong[0] == nobody }

// sums are the opinions for the log, by member.
func (v *verdict) sums() []string {
	var out []string
	for _, id := range v.members() {
		o := v.opinions[id]
		switch o.standing {
		case level:
			text := fmt.Sprintf("%d:%016x", id, o.sum)
			if o.objects != 0 {
				text += fmt.Sprintf("/%016x", o.objects)
			}
			out = append(out, text)
		default:
			out = append(out, fmt.Sprintf("%d:%s", id, o.standing))
		}
	}
	return out
}
