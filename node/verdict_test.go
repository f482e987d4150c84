package node

import (
	"slices"
	"testing"
)

func TestMembersThatDifferFromTheMajorityAreWrong(t *testing.T) {
	asked, now := point{100, 50, 20}, point{110, 55, 20}
	// says is a member that has the revision with a hash.
	says := func(member, sum uint64) answer {
		return answer{member, hashed{at: point{105, 52, 20}, sum: sum, ok: true}}
	}
	at := func(member uint64, rev, compacted int64, ok bool) answer {
		return answer{member, hashed{at: point{105, rev, compacted}, sum: 7, ok: ok}}
	}
	for name, c := range map[string]struct {
		answers             []answer
		wrong, same, others []uint64
	}{
		"all are equal":                        {[]answer{says(1, 7), says(2, 7), says(3, 7)}, nil, []uint64{1, 2, 3}, nil},
		"one of three":                         {[]answer{says(1, 7), says(2, 8), says(3, 7)}, []uint64{2}, []uint64{1, 2, 3}, nil},
		"the leader":                           {[]answer{says(2, 8), says(3, 8), says(1, 7)}, []uint64{1}, []uint64{1, 2, 3}, nil},
		"two of five, each in its own way":     {[]answer{says(1, 7), says(2, 8), says(3, 7), says(4, 9), says(5, 7)}, []uint64{2, 4}, []uint64{1, 2, 3, 4, 5}, nil},
		"two of five, who agree":               {[]answer{says(1, 8), says(2, 8), says(3, 7), says(4, 7), says(5, 7)}, []uint64{1, 2}, []uint64{1, 2, 3, 4, 5}, nil},
		"one of two":                           {[]answer{says(1, 7), says(2, 8)}, []uint64{nobody}, []uint64{1, 2}, nil},
		"a tie":                                {[]answer{says(1, 7), says(2, 7), says(3, 8), says(4, 8)}, []uint64{nobody}, []uint64{1, 2, 3, 4}, nil},
		"each of three":                        {[]answer{says(1, 7), says(2, 8), says(3, 9)}, []uint64{nobody}, []uint64{1, 2, 3}, nil},
		"alone":                                {[]answer{says(1, 7)}, nil, []uint64{1}, nil},
		"nobody answers":                       {nil, nil, nil, nil},
		"another compaction says nothing":      {[]answer{says(1, 7), at(2, 55, 20, true), at(3, 52, 20, true)}, nil, []uint64{1, 2, 3}, nil},
		"one has compacted less than asked":    {[]answer{says(1, 7), says(2, 7), at(3, 52, 19, false)}, []uint64{3}, []uint64{1, 2, 3}, nil},
		"one has compacted what nobody asked":  {[]answer{says(1, 7), says(2, 7), at(3, 52, 21, false)}, []uint64{3}, []uint64{1, 2, 3}, nil},
		"one lacks revisions that it applied":  {[]answer{says(1, 7), says(2, 7), at(3, 49, 20, false)}, []uint64{3}, []uint64{1, 2, 3}, nil},
		"one has revisions that are in no log": {[]answer{says(1, 7), says(2, 7), at(3, 56, 20, true)}, []uint64{3}, []uint64{1, 2, 3}, nil},
		"the leader lacks revisions":           {[]answer{says(1, 7), at(2, 56, 20, true), at(3, 56, 20, true)}, []uint64{1}, []uint64{1, 2, 3}, nil},
		"one of two lacks revisions":           {[]answer{says(1, 7), at(2, 49, 20, false)}, []uint64{nobody}, []uint64{1, 2}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			// The order in which they answer is chance.
			for range len(c.answers) + 1 {
				v := judge(asked, now, all, c.answers)
				if !slices.Equal(v.wrong, c.wrong) || !slices.Equal(v.members(), c.same) || !slices.Equal(v.moved, c.others) {
					t.Errorf("%v are wrong of %v, %v moved; want %v, %v, %v", v.wrong, v.sums(), v.moved, c.wrong, c.same, c.others)
				}
				if len(c.answers) > 0 {
					c.answers = append(c.answers[1:], c.answers[0])
				}
			}
		})
	}
}

// all are voters.
func all(uint64) bool { return true }

func TestLearnersDoNotSayWhoIsWrong(t *testing.T) {
	asked, now := point{100, 50, 20}, point{110, 55, 20}
	says := func(member, sum uint64) answer {
		return answer{member, hashed{at: point{105, 52, 20}, sum: sum, ok: true}}
	}
	for name, c := range map[string]struct {
		voters  uint64 // 1 up to it vote
		answers []answer
		wrong   []uint64
	}{
		"learners outnumber a voter that differs":       {3, []answer{says(1, 7), says(2, 8), says(3, 8), says(4, 7), says(5, 7)}, []uint64{1, 4, 5}},
		"two learners against the only voter":           {1, []answer{says(1, 7), says(2, 8), says(3, 8)}, []uint64{nobody}},
		"a learner against two voters":                  {2, []answer{says(1, 7), says(2, 7), says(3, 8)}, []uint64{3}},
		"a learner sides with one of two voters":        {2, []answer{says(1, 7), says(2, 8), says(3, 8)}, []uint64{nobody}},
		"a learner makes no majority of a tie":          {4, []answer{says(1, 7), says(2, 7), says(3, 8), says(4, 8), says(5, 7)}, []uint64{nobody}},
		"learners differ among each other":              {3, []answer{says(1, 7), says(2, 7), says(3, 7), says(4, 8), says(5, 9)}, []uint64{4, 5}},
		"one voter of three and a learner do not count": {3, []answer{says(1, 7), says(2, 7), says(3, 8), says(4, 8)}, []uint64{3, 4}},
	} {
		v := judge(asked, now, func(id uint64) bool { return id <= c.voters }, c.answers)
		if !slices.Equal(v.wrong, c.wrong) {
			t.Errorf("%s: %v are wrong, want %v", name, v.wrong, c.wrong)
		}
	}
}

func TestObjectsAreComparedWhereAllMembersKnowTheirSum(t *testing.T) {
	asked, now := point{100, 50, 20}, point{110, 55, 20}
	says := func(member, objects uint64, known bool) answer {
		return answer{member, hashed{at: point{105, 52, 20}, sum: 7, ok: true, objects: objects, objectsKnown: known}}
	}
	for name, c := range map[string]struct {
		answers []answer
		wrong   []uint64
	}{
		"all are equal":      {[]answer{says(1, 7, true), says(2, 7, true), says(3, 7, true)}, nil},
		"one of three":       {[]answer{says(1, 7, true), says(2, 8, true), says(3, 7, true)}, []uint64{2}},
		"one does not know":  {[]answer{says(1, 7, true), says(2, 8, true), says(3, 0, false)}, nil},
		"no object anywhere": {[]answer{says(1, 0, true), says(2, 0, true), says(3, 0, true)}, nil},
		"one of three lacks": {[]answer{says(1, 7, true), says(2, 7, true), says(3, 0, true)}, []uint64{3}},
	} {
		if v := judge(asked, now, all, c.answers); !slices.Equal(v.wrong, c.wrong) || len(v.opinions) != 3 {
			t.Errorf("%s: %v are wrong of %v, want %v", name, v.wrong, v.sums(), c.wrong)
		}
	}
}

func TestMembersAreComparedOnlyAtOneCompactedRevision(t *testing.T) {
	asked, now := point{100, 50, 20}, point{110, 55, 30}
	answers := []answer{
		{1, hashed{at: point{100, 50, 20}, sum: 7, ok: true}},
		{2, hashed{at: point{105, 52, 30}}},
		{3, hashed{at: point{101, 50, 20}, sum: 7, ok: true}},
	}
	if v := judge(asked, now, all, answers); len(v.wrong) != 0 || !slices.Equal(v.moved, []uint64{2}) || !slices.Equal(v.members(), []uint64{1, 3}) {
		t.Errorf("%v are wrong, %v moved, %v were compared", v.wrong, v.moved, v.sums())
	}
	answers[2].sum = 8
	if v := judge(asked, now, all, answers); !v.unclear() {
		t.Errorf("of two that can be compared and differ, %v are wrong", v.wrong)
	}
}
