package wire

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write testdata/packets from the table in packets_test.go")

// A packet is a hostile message. Its name is a sentence that says what is wrong with it.
type packet struct {
	name    string
	verdict Verdict
	echoed  string // of the query, in the response: "question", "opt", both with a comma, or "-"
	msg     string // in the notation of octets
}

// packets are kept as files too, for programs that want to send them: one
// NAME.bin each, and verdicts.txt beside them. After a change here, write them
// with
//
//	go test ./zone/wire -run TestPackets -update
var packets = []packet{
	{"a_message_of_no_octets", Drop, "-", ""},
	{"a_header_cut_off_by_one_octet", Drop, "-", "1234 0100 0001 0000 0000 00"},
	{"a_response_to_an_answer_we_never_asked_for", Drop, "-", "1234 8580 0001 0001 0000 0000" + web + aaaa + "c00c 001c 0001 00000005 0010 fdaa0000 00180a7b 7df066b8 3b000002"},
	{"a_formerr_that_could_start_a_loop", Drop, "-", "1234 8101 0000 0000 0000 0000"},
	{"a_malformed_response_that_could_start_a_loop", Drop, "-", "1234 8100 ffff ffff ffff ffff c0"},

	{"an_opcode_alone_in_a_bare_header", NotImp, "-", "1234 2800 0000 0000 0000 0000"},
	{"an_update_that_would_delete_a_name", NotImp, "question", "1234 2800 0001 0000 0001 0000" + "08'internal' 00 0006 0001" + web + "00ff 00ff 00000000 0000"},
	{"a_notify_with_a_new_serial", NotImp, "question,opt", "1234 2400 0001 0001 0000 0001" + "08'internal' 00 0006 0001" + "c00c 0006 0001 00000005 0018 00 00 00000001 00000e10 00000258 00015180 00000005 0000" + opt},
	{"a_dso_session_request", NotImp, "-", "1234 3000 0000 0000 0000 0000 0001 0004 00003a98"},
	{"an_unknown_opcode_with_counts_that_lie", NotImp, "question", "1234 7800 0001 ffff ffff ffff" + web + aaaa},

	{"a_bare_header_of_a_query", FormErr, "-", "1234 0100 0001 0000 0000 0000"},
	{"a_query_with_no_question_but_an_opt", FormErr, "opt", "1234 0100 0000 0000 0000 0001" + opt},
	{"two_questions", FormErr, "-", "1234 0100 0002 0000 0000 0000" + web + aaaa + web + "0001 0001"},
	{"65535_questions_announced", FormErr, "-", "1234 0100 ffff 0000 0000 0000" + web + aaaa},
	{"65535_records_announced_in_every_section", FormErr, "question", "1234 0100 0001 ffff ffff ffff" + web + aaaa},
	{"an_answer_in_a_query", FormErr, "question", "1234 0100 0001 0001 0000 0000" + web + aaaa + "c00c" + a},
	{"an_authority_in_a_query", FormErr, "question", "1234 0100 0001 0000 0001 0000" + web + aaaa + "c00c" + a},
	{"octets_after_the_question", FormErr, "question", head + web + aaaa + "0000"},
	{"octets_after_the_opt", FormErr, "question,opt", headX + web + aaaa + opt + "ff"},
	{"a_second_query_behind_the_first", FormErr, "question", head + web + aaaa + head + web + aaaa},

	{"a_compression_pointer_to_itself", FormErr, "-", head + "c00c" + aaaa},
	{"a_compression_pointer_loop_of_two", FormErr, "-", head + "c00e c00c" + aaaa},
	{"a_compression_pointer_loop_through_a_label", FormErr, "-", head + "01'a' c00c" + aaaa},
	{"a_compression_pointer_into_the_header", FormErr, "-", head + "c005" + aaaa},
	{"a_compression_pointer_forwards", FormErr, "-", headX + "c014" + aaaa + "0000" + opt},
	{"a_compression_pointer_behind_the_message", FormErr, "-", head + "03'web' ffff" + aaaa},
	{"a_compression_pointer_cut_off", FormErr, "-", head + "03'web' c0"},
	{"a_label_longer_than_the_message", FormErr, "-", head + "3f'web'"},
	{"a_label_of_64_octets", FormErr, "-", head + "40" + strings.Repeat("61", 64) + "00" + aaaa},
	{"a_bit_label_of_rfc_2673", FormErr, "-", head + "41 10 fdaa 00" + aaaa},
	{"a_name_of_256_octets", FormErr, "-", head + label(63) + label(63) + label(63) + label(62) + "00" + aaaa},
	{"a_name_of_128_labels", FormErr, "-", head + strings.Repeat("01'a' ", 128) + "00" + aaaa},
	{"a_name_without_an_end", FormErr, "-", head + strings.Repeat("01'a' ", 200)},
	{"a_question_without_qclass", FormErr, "-", head + web + "001c"},
	{"a_question_with_half_a_qclass", FormErr, "-", head + web + "001c 00"},

	{"an_owner_that_points_at_itself", FormErr, "question", headX + web + aaaa + "c01e" + a},
	{"two_owners_that_point_at_each_other", FormErr, "question", "1234 0100 0001 0000 0000 0002" + web + aaaa + "c02e" + a + "c01e" + a},
	{"an_owner_that_points_forwards", FormErr, "question", "1234 0100 0001 0000 0000 0002" + web + aaaa + "c02e" + a + "c00c" + a},
	{"an_owner_that_points_into_the_header", FormErr, "question", headX + web + aaaa + "c002" + a},
	{"an_owner_behind_128_pointers", FormErr, "question", pointerChain(128)},
	{"an_owner_that_grows_over_255_octets_by_a_pointer", FormErr, "question", headX + web + aaaa + label(63) + label(63) + label(63) + label(49) + "c00c" + a},
	{"a_record_longer_than_the_message", FormErr, "question", headX + web + aaaa + "00 0001 0001 00000000 ffff 7f000001"},
	{"a_record_cut_off_before_rdlength", FormErr, "question", headX + web + aaaa + "00 0029 04d0 00000000"},

	{"two_opt_records", FormErr, "question,opt", "1234 0100 0001 0000 0000 0002" + web + aaaa + opt + opt},
	{"an_opt_with_another_owner_than_the_root", FormErr, "question,opt", headX + web + aaaa + "c00c 0029 04d0 00000000 0000"},
	{"an_opt_in_answer", FormErr, "question,opt", "1234 0100 0001 0001 0000 0000" + web + aaaa + opt},
	{"an_option_that_overruns_its_opt", FormErr, "question,opt", headX + web + aaaa + optWith + "0006 0003 ffff 0000"},
	{"an_option_cut_off_in_its_length", FormErr, "question,opt", headX + web + aaaa + optWith + "0003 0003 00"},
	{"an_opt_longer_than_the_message", FormErr, "question", headX + web + aaaa + optWith + "0008 0003 0004"},
	{"a_cookie_of_no_octets", FormErr, "question,opt", headX + web + aaaa + optWith + "0004" + option(10, 0)},
	{"a_cookie_of_9_octets", FormErr, "question,opt", headX + web + aaaa + optWith + "000d" + option(10, 9)},
	{"a_cookie_of_41_octets", FormErr, "question,opt", headX + web + aaaa + optWith + "002d" + option(10, 41)},
	{"a_tsig_before_the_opt", FormErr, "question,opt", "1234 0100 0001 0000 0000 0002" + web + aaaa + tsig + opt},
	{"a_tsig_twice", FormErr, "question", "1234 0100 0001 0000 0000 0002" + web + aaaa + tsig + tsig},
	{"a_question_for_opt", FormErr, "question", head + web + "0029 0001"},
	{"a_question_for_tkey", FormErr, "question", head + web + "00f9 0001"},

	{"an_edns_version_of_the_future", BadVers, "question,opt", headX + web + aaaa + "00 0029 04d0 00 01 0000 0000"},
	{"an_edns_version_of_the_future_with_its_options", BadVers, "question,opt", headX + web + aaaa + "00 0029 04d0 00 ff 8000 0006 ffff 0002 0102"},
	{"a_tsig_by_an_unknown_key", NotAuth, "question,opt", "1234 0100 0001 0000 0000 0002" + web + aaaa + opt + tsig},
	{"a_sig0_by_an_unknown_key", NotAuth, "question", headX + web + aaaa + sig0},
	{"a_zone_transfer", Refused, "question", head + "08'internal' 00 00fc 0001"},
	{"an_incremental_zone_transfer_without_its_soa", Refused, "question", head + "08'internal' 00 00fb 0001"},
	{"a_version_query_of_class_chaos", Refused, "question", head + "07'VERSION' 04'BIND' 00 0010 0003"},
	{"a_question_of_class_any", Refused, "question", head + web + "00ff 00ff"},

	{"a_name_of_255_octets", Answer, "question", head + label(63) + label(63) + label(63) + label(61) + "00" + aaaa},
	{"a_name_of_127_labels", Answer, "question", head + strings.Repeat("01'A' ", 127) + "00" + aaaa},
	{"a_name_of_octets_that_are_no_text", Answer, "question", head + "08 00 ff 80 2e 5c 22 0a 41 00" + aaaa},
	{"a_name_with_a_dot_inside_a_label", Answer, "question", head + "0c'web.internal' 00" + aaaa},
	{"a_udp_size_of_no_octets", Answer, "question,opt", headX + web + aaaa + "00 0029 0000 00000000 0000"},
	{"an_opt_with_a_thousand_empty_options", Answer, "question,opt", headX + web + aaaa + optWith + "0fa0" + strings.Repeat(option(77, 0), 1000)},
	{"an_owner_behind_127_pointers", Answer, "question", pointerChain(127)},
	{"a_keepalive_with_a_timeout", Answer, "question,opt", headX + web + aaaa + optWith + "0006" + option(11, 2)},
	{"rdata_that_is_no_address", Answer, "question", headX + web + aaaa + "00 0001 0001 00000000 0001 ff"},
}

const packetsDir = "testdata/packets"

// line returns the line of verdicts.txt for p.
func (p packet) line() string {
	return verdictNames[p.verdict] + "\t" + p.echoed + "\t" + p.name + "\n"
}

func TestPacketsAreKeptAsFiles(t *testing.T) {
	verdicts := "# verdict\techoed\tpacket; see packets_test.go\n"
	for _, p := range packets {
		verdicts += p.line()
	}
	if *update {
		writePackets(t, verdicts)
	}
	got, err := os.ReadFile(filepath.Join(packetsDir, "verdicts.txt"))
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != verdicts {
		t.Error("verdicts.txt is not what the table says; run this test with -update")
	}
	known := map[string]bool{}
	for _, p := range packets {
		if known[p.name] {
			t.Errorf("%s: two packets have this name", p.name)
		}
		known[p.name] = true
	}
	files, err := filepath.Glob(packetsDir + "/*.bin")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if !known[strings.TrimSuffix(filepath.Base(f), ".bin")] {
			t.Errorf("%s: not in the table", f)
		}
	}
}

func writePackets(t *testing.T, verdicts string) {
	t.Helper()
	if err := os.RemoveAll(packetsDir); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(packetsDir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, p := range packets {
		if err := os.WriteFile(filepath.Join(packetsDir, p.name+".bin"), octets(t, p.msg), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(packetsDir, "verdicts.txt"), []byte(verdicts), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestPackets(t *testing.T) {
	for _, p := range packets {
		t.Run(p.name, func(t *testing.T) {
			msg, err := os.ReadFile(filepath.Join(packetsDir, p.name+".bin"))
			if err != nil {
				t.Fatal(err)
			}
			if want := octets(t, p.msg); !bytes.Equal(msg, want) {
				t.Fatalf("the file has\n     %x\nwant %x", msg, want)
			}
			var q Query
			v := q.Parse(msg)
			var echoed []string
			if q.Question() != nil {
				echoed = append(echoed, "question")
			}
			if q.OPT {
				echoed = append(echoed, "opt")
			}
			if echoed == nil {
				echoed = []string{"-"}
			}
			got := packet{p.name, v, strings.Join(echoed, ","), ""}
			if got.line() != p.line() {
				t.Errorf("\n got %swant %s", got.line(), p.line())
			}
		})
	}
}
