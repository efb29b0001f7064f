#include "control/letter.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "swap/hours.h"
#include "swap/policy.h"

/* What both languages say. */
struct facts {
	const struct certificate_settings *settings;
	const char *serial, *issuer, *reason, *meaning, *reference, *csr;
	char *names;
	char until[32];
	int item; /* of BR 4.9.1.1; 0: not known */
	bool incident, new_key;
};

static char *english(const struct facts *f)
{
	struct text t = {0};
	text_add(&t, "To: %s\n", *f->settings->ca_contact ? f->settings->ca_contact : "(your CA or reseller)");
	text_add(&t, "Subject: Please reissue now%s%s: certificate serial %s\n\n",
		 *f->settings->ca_order ? ", order " : "", f->settings->ca_order, f->serial);
	text_add(
		&t,
		"Dear support team,\n\nwe operate %s. The certificate with the serial number\n\n    %s\n\nissued by %s",
		f->names, f->serial, f->issuer);
	if (f->incident)
		text_add(&t, ", is to be revoked by %s%s%s%s.\n\n", f->until, *f->reference ? " (your reference: " : "",
			 f->reference, *f->reference ? ")" : "");
	else
		text_add(&t, ", is to be replaced.\n\n");
	text_add(&t, "1. Please REISSUE it first, with the request (CSR) at the end of this mail%s.\n",
		 f->new_key ? ", which has a new key. Please do not use the old request again: its key is compromised "
			      "or not "
			      "allowed"
			    : "");
	text_add(&t,
		 "2. Please revoke the old certificate only after we have told you that the new one is in service%s.\n",
		 f->incident ? ", or at the time above" : "");
	text_add(&t, "3. Please send the new certificate with its intermediates as PEM or PKCS#7.\n\n");
	if (f->incident && f->item)
		text_add(&t, "Why: Baseline Requirements 4.9.1.1, item %d (%s).\n", f->item, f->meaning);
	if (f->incident)
		text_add(&t, "CRLReason of the old certificate: %s\nThe new certificate is needed by: %s\n", f->reason,
			 f->until);
	if (*f->settings->ca_order)
		text_add(&t, "Order: %s\n", f->settings->ca_order);
	text_add(&t, "\n%s\nKind regards\n", f->csr);
	return t.s;
}

static char *japanese(const struct facts *f)
{
	struct text t = {0};
	text_add(&t, "To: %s\n", *f->settings->ca_contact ? f->settings->ca_contact : "(認証局または販売代理店)");
	text_add(&t, "Subject: 【至急】証明書の再発行のお願い%s%s シリアル番号 %s\n\n",
		 *f->settings->ca_order ? " 注文番号 " : "", f->settings->ca_order, f->serial);
	text_add(&t,
		 "ご担当者様\n\nお世話になっております。%s "
		 "を運用しております。\n下記の証明書について、再発行をお願いいたします。\n\n",
		 f->names);
	text_add(&t, "  シリアル番号: %s\n  発行者: %s\n", f->serial, f->issuer);
	if (*f->settings->ca_order)
		text_add(&t, "  注文番号: %s\n", f->settings->ca_order);
	if (f->incident && *f->reference)
		text_add(&t, "  貴社の整理番号: %s\n", f->reference);
	if (f->incident)
		text_add(&t, "  失効期限: %s (UTC)\n", f->until);
	text_add(&t, "\n1. 失効の前に、まず再発行をお願いいたします。末尾の CSR をお使いください。%s\n",
		 f->new_key ? "\n   鍵は新しいものです。以前の CSR "
			      "は、鍵が危殆化または使用不可のため、再利用しないでください。"
			    : "");
	text_add(&t, "2. 旧証明書の失効は、新証明書への切り替え完了を当方からご連絡した後%sにお願いいたします。\n",
		 f->incident ? "、または上記の期限" : "");
	text_add(&t, "3. 新証明書は、中間証明書とともに PEM または PKCS#7 形式でお送りください。\n\n");
	if (f->incident && f->item)
		text_add(&t, "失効事由: Baseline Requirements 4.9.1.1 第 %d 項 (%s)\n", f->item, f->meaning);
	if (f->incident)
		text_add(&t, "旧証明書の CRLReason: %s\n新証明書の希望期限: %s (UTC)\n", f->reason, f->until);
	text_add(&t, "\n%s\nよろしくお願いいたします。\n", f->csr);
	return t.s;
}

char *letter_write(const struct certificate *c, const struct incident *incident, const char *csr,
		   enum letter_language language)
{
	struct facts f = {.settings = c->settings,
			  .serial = c->live.number ? c->live.serial : "-",
			  .issuer = c->live.number ? c->live.issuer : "-",
			  .reason = "superseded",
			  .meaning = "",
			  .reference = "",
			  .csr = csr,
			  .names = words_join(certificate_names(c), ", ")};
	if (incident) {
		const struct revocation_case *rule = policy_case(incident->case_letter);
		f.incident = true;
		f.serial = incident->serial;
		f.reference = incident->reference;
		f.meaning = rule->meaning;
		f.reason = incident->reason >= 0 ? policy_reason_name(incident->reason) : rule->reason;
		f.item = incident->case_letter ? incident->case_letter - 'a' + 1 : 0;
		f.new_key = incident->denies_key;
		text_from_time(incident->deadline, f.until);
	}
	if (!f.reason)
		f.reason = "unspecified";
	char *text = language == LETTER_JA ? japanese(&f) : english(&f);
	free(f.names);
	return text;
}

char *letter_desk(const struct certificate_settings *s, int64_t now, int64_t deadline)
{
	char when[32], lead[32];
	int64_t open = hours_next(s->ca_hours, now);
	struct text t = {0};
	if (!*s->ca_hours)
		text_add(&t, "ca.hours is not configured: nobody can say whether the CA's desk is there in time");
	else if (open == now)
		text_add(&t, "the CA's desk is open now (%s)", s->ca_hours);
	else if (!open)
		text_add(&t, "the CA's desk is not open within eight days (%s)", s->ca_hours);
	else
		text_add(&t, "the CA's desk is closed now (%s) and opens at %s%s", s->ca_hours,
			 text_from_time(open, when),
			 deadline && open >= deadline ? ", AFTER the deadline: use its emergency contact" : "");
	if (s->ca_lead_time_ms && open && deadline && open + s->ca_lead_time_ms / 1000 > deadline)
		text_add(&t,
			 "; with its lead time of %s the certificate would come after the deadline: ask for an "
			 "expedited "
			 "reissue",
			 text_from_ms(s->ca_lead_time_ms, lead));
	return t.s;
}
