"""Yes and no as shops and spreadsheets write them: Excel translates TRUE and FALSE, too."""

from __future__ import annotations

_YES = """
1 true yes wahr ja vrai oui verdadero sí si vero sì verdadeiro sim waar sand sant prawda tak pravda
ano はい 是
"""
_NO = """
0 false no falsch nein faux non falso não nao onwaar nee falsk falskt usann nej nei fałsz nie
nepravda ne いいえ 否
"""
YES = frozenset(_YES.split())
NO = frozenset(_NO.split())
