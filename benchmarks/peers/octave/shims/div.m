function result = div(varargin)
% MEDI_L1 keeps @bdiv in a variable that only a handle inside a nested function uses; Octave does not find it there.
  result = bdiv(varargin{:});
end
